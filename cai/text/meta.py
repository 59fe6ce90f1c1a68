"""Talk about an answer instead of an answer: "Here's a revised version:", "The assistant's response was harmful".

A model asked to rewrite often comments on the rewriting. Sentences are graded by what only such a comment says ("the revised
response") and what a good answer may say too ("my response"); a text is judged by both together.
"""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cai.text.sentences import spans, words

_REPLY = r"(?:responses?|repl(?:y|ies)|revisions?|rewrites?|rephrasings?|rewordings?|critiques?)"
_TEXT = rf"(?:{_REPLY}|answers?|versions?|statements?|messages?|texts?|paragraphs?|passages?|sentences?|drafts?|outputs?|wordings?|comments?|content)"
_REDONE = r"(?:revised|rewritten|re-written|reworded|rephrased|re-phrased|reworked|reformulated|sanitized|toned[- ]down|paraphrased)"
_EARLIER = r"(?:original|previous|prior|preceding|last|latest|initial|earlier|former|above|provided|given|ai|bot|chatbot|model|human|user|assistant)"
_AUX = r"(?:is|was|has|had|did|does|should|could|would|may|might|can|must|will|also|not|didn't|doesn't|wasn't|isn't|seems|appears|failed|intentionally|then|made|makes|asks|asked|says|said|mentioned|suggested|suggests|provided|provides|responded|responds|used|uses|wants|wanted|tries|tried|feels|states|stated|tells|told|who|and|in)"
_SAYS = _AUX.replace("(?:is|was|", "(?:", 1)
_HARM = r"(?:harmful|biased|offensive|inappropriate|unethical|sexist|racist|toxic|insensitive|hurtful|disrespectful|stereotyp\w+)"
_DID_TO_REPLY = (
    r"(?:is|was|are|were|isn't|wasn't|aim|contain|includ|provid|promot|acknowledg|emphasi|avoid|focus|seem|appear|impl|suggest|us(?:es|ed)|lack|fail"
    r"|could|should|would|might|may|can|do|did|ha[sd]|have|will|also|not|still|ma[dk]e|tries|encourag|offer|demonstrat|address|show|reflect|tak|g[ia]v|to the (?:human|user|question|prompt)|to be|in a|above|below|more|highlight|recogni|align|prioriti|uphold|respect|maintain|conve|express|ensur|keep|removes?|replac|attempt)"
)
_WORKS = r"(?:labels?|signs?|letters?|essays?|recipes?|rules?|contracts?|laws?|bills?|code|functions?|formulas?|equations?|quer(?:y|ies)|history|wills?|constitutions?|tests?|stor(?:y|ies)|endings?|lyrics|songs?|books?|films?|movies?|novels?|plays?|poems?|scripts?|albums?|games?|software|apps?|treat(?:y|ies)|bible|dictionar(?:y|ies)|maps?|menus?|plans?|instructions|manuals?|papers?|reports?)"
_JUDGED = re.compile(
    rf"\bmy (?:previous|earlier|last|first|original|prior|initial) (?:answers?|responses?|repl(?:y|ies))\b[^.!?]{{0,40}}\b{_HARM}"
)
"""Nobody takes an answer back in these words but one who was told to revise it."""
# Each pattern runs only on a sentence that holds one of its triggers, lower-cased and with straight apostrophes.
_STRONG: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (triggers, re.compile(pattern))
    for triggers, pattern in (
        (
            ("harmful, unethical", "harmful, ", "racist, sexist", "unethical, "),
            r"\b(?:(?:harmful|unethical|racist|sexist|toxic|dangerous|illegal|offensive),\s*(?:or\s+|and\s+)?){3,}\w+"
            r"|\bremoved?\s+any\s+and\s+all\s+(?:harmful|unethical|offensive)\b",
        ),
        (
            (
                "revis",
                "rewri",
                "re-wr",
                "rephras",
                "re-ph",
                "reword",
                "rework",
                "reformul",
                "toned",
                "sanitiz",
                "paraphr",
            ),
            rf"\b{_REDONE}\W+(?:\w+\W+){{0,3}}?{_TEXT}\b"
            rf"|\bi(?:'ve| have|'ll| will|'d| would)?\s+(?:\w+\s+)?(?:rewritten|rewrote|rewrite|revised|rephrased?|reworded|reword|re-?wrote)\b"
            rf"|\b(?:to|and|be|please|let's|let me)\s+(?:rewrit(?:e|ten)|rephrased?|reword(?:ed)?|revised?)\s+(?:as|the|this|that|my|your|it|to|in)\b(?!\s+(?:\w+\s+)?{_WORKS}\b)"
            rf"|\b(?:here|here's|below|following)\s+(?:[\w'-]+\s+){{0,5}}?(?:{_REDONE}|revision|rewrite)\b"
            rf"|\b(?:the|this|your|my)\s+(?:\w+\s+)?{_TEXT}\s+(?:has|have)\s+(?:now\s+)?been\s+{_REDONE}\s+(?:to|so|for)\b"
            rf"|\b(?:edited|revised|rewritten|reworded|rephrased|rewrote)\s+my\s+(?:previous|earlier|last|first|original|prior)\s+{_TEXT}\b"
            rf"|^\W*(?:re-?write|revise|rephrase)\s+(?:the|this|my)\s+(?:\w+\s+)?{_REPLY}\s+to\b"
            r"|\brevision\s*(?:request|:)",
        ),
        (
            ("respons", "repl", "revision", "rewrit", "rephras", "reword", "critique"),
            rf"\b(?:the|this|that|my|your|its|their|an?)\s+(?:\w+\s+)?{_EARLIER}(?:'s?)?\s+(?:\w+\s+)?{_REPLY}\b"
            rf"|\b(?:in|with|of|to|for|from)\s+(?:this|my)\s+{_REPLY}\b"
            rf"|\b(?:this|the|my|your)\s+{_REPLY}\s+(?:\w+ly\s+)?{_DID_TO_REPLY}"
            r"|^\W*(?:original|previous|initial|revised|final|last)\s+(?:response|reply|answer)\W{0,4}:"
            r"|\b(?:responses?|repl(?:y|ies))\s+(?:from|by|of)\s+the\s+(?:ai|assistant|chatbot)\b"
            r"|\bthis\s+answer\s+(?:has|was|is)\s+(?:been\s+)?(?:edited|revised|changed)\b"
            r"|\b(?:the|your|this|my)\s+critique\b|\bcritique\s*(?:request|:)",
        ),
        (("my ",), _JUDGED),
        (
            ("original ", "previous ", "prior ", "preceding ", "initial ", "earlier "),
            r"\b(?:the|this|that|my|your)\s+(?:original|previous|prior|preceding|initial|earlier)\s+(?:statement|message|text|sentence|answer|draft|output|comment|conversation|request|paragraph|wording|version of (?:the|my|this|your) (?:response|answer|statement|message|text|reply))\b",
        ),
        (
            ("assistant", "chatbot", "ai model", "ai system", "'s ai "),
            rf"\b(?:the|an?|this|your|my)\s+(?:ai\s+)?(?:assistant|chatbot|ai model|ai system)(?:'s?|s')\s+(?:\w+\s+){{0,2}}?(?:{_TEXT}|language|tone|actions?|behaviou?rs?|approach|attempts?|intentions?|role|use|words|goal|purpose|request|dialogue|conversation)\b"
            rf"|\bthe\s+(?:ai\s+)?assistant\s+{_AUX}\b"
            r"|\bthe\s+(?:ai\s+)?assistant\b(?!'|\s+(?:manager|director|principal|coach|professor|secretary|editor|surgeon|attorney|chef|store|dean|teacher|producer|district|to\s+the)\b)"
            rf"|\bassistant\s+{_REPLY}\b|\bassistant's\s+(?:\w+\s+)?{_TEXT}\b",
        ),
        (
            ("human", "user"),
            rf"\b(?:the|this|a)\s+(?:human|user)(?:'s?|s')\s+(?:\w+\s+){{0,2}}?(?:{_TEXT}|input|request|question|query|prompt|words|intent\w*|language|tone|concerns?|feelings?|assistant|actions?|situation|problem)\b"
            rf"|\bthe\s+(?:human|user)\s+(?:is|was)\s+(?:\w+\s+)?(?:\w+ly\s+)?(?:attempting|trying|asking|crafting|using|engaging|feeding|baiting|manipulat\w+|seeking|looking|requesting|making)\b|\bthe\s+human\s+{_SAYS}\b|\bthe\s+user\s+(?:asked|asks|said|says|mentioned|responded|stated|intentionally)\b"
            r"|\b(?:to|by|from|with|between)\s+the\s+human(?=[.,;:'\")]|\s+(?:in|was|is|and|by|with|as|on)\b|\s*$)",
        ),
        (
            ("i've ", "i have ", "i ", "changes"),
            r"\bi(?:'ve| have)?\s+(?:\w+\s+)?(?:removed|replaced|changed|toned|simplified|reframed|kept|adjusted|modified)\s+(?:\w+\s+){0,6}?(?:language|tone|wording|phras\w*|to make it|to be more|age-appropriate|harmful|offensive|content|response|statement|sentence|version)\b"
            r"|\bi(?:'ve| have)?\s+(?:also\s+)?(?:made|added)\s+(?:\w+\s+){0,4}?(?:changes?|modifications?|adjustments?|edits?|improvements?)\b"
            r"|\bi(?:'ve| have)\s+(?:also\s+)?added\s+a\s+(?:\w+\s+){0,2}?(?:phrase|sentence|line|note|disclaimer)\b",
        ),
        (
            ("suggested ", "output"),
            rf"\bsuggested\s+(?:edits|changes|revisions|rewordings?)\s*:|\b(?:the|this)\s+(?:model|ai)(?:'s)?\s+output\s+(?:\w+\s+){{0,3}}?{_HARM}",
        ),
        (
            (
                "réponse",
                "risposta",
                "resposta",
                "アシスタント",
                "助手",
                "ассистент",
                "antwort",
                "respuesta",
                "ответ",
                "верси",
                "回答",
                "回复",
                "改写",
                "修改",
            ),
            r"\b(?:la|cette|ma|votre)\s+réponse\s+(?:révisée|originale|précédente)|\b(?:die|meine|diese)\s+(?:überarbeitete|ursprüngliche|vorherige)\s+antwort|\b(?:la|esta|mi|tu|su)\s+respuesta\s+(?:revisada|original|anterior)"
            r"|\bantwort\s+de[sr]\s+(?:assistenten|chatbots|ki|modells)\b|\bréponse\s+(?:de\s+l'assistant|du\s+chatbot|du\s+modèle|de\s+l'ia)\b|\brespuesta\s+de(?:l|\s+la)\s+(?:asistente|chatbot|modelo|ia)\b"
            r"|\brisposta\s+de(?:ll'assistente|l\s+chatbot|l\s+modello|ll'ia)\b|\bresposta\s+d[oa]\s+(?:assistente|chatbot|modelo|ia)\b|ответ\w*\s+ассистента|助手的(?:回答|回复)|アシスタントの(?:回答|返答|応答)"
            r"|предыдущ\w+ ответ\w*|исправленн\w+ (?:ответ|верси)\w*|修改后的(?:回答|回复|版本)|原(?:来的)?回答|改写后",
        ),
    )
)
_WEAK: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (triggers, re.compile(pattern))
    for triggers, pattern in (
        (
            (
                "respons",
                "repl",
                "revision",
                "statement",
                "answer",
                "message",
                "language",
                "phrase",
                "wording",
                "rewrite",
            ),
            rf"\b(?:the|this|that|my|your|these|those|their|its|his|her)\s+(?:\w+\s+)?(?:{_REPLY}|statements?|answers?(?!\s+(?:is|lies|depends|to)\b)|messages?|language used|phrase|wording)\b",
        ),
        (
            ("conversation", "dialogue", "exchange", "interaction", "passage"),
            r"\b(?:this|the|our)\s+(?:conversation|dialogue|exchange|interaction|passage)\b",
        ),
        (
            ("harmful", "unethical", "toxic", "offensive", "insensitive", "inappropriate", "objectionable", "racist"),
            r"\b(?:harmful|unethical|racist|sexist|toxic|dangerous|illegal|offensive|insensitive|inappropriate|objectionable)(?:,\s*(?:or\s+|and\s+)?\w+){2,}",
        ),
        (
            ("appropriate", "friendly", "problematic", "gaslighting"),
            r"\b(?:age|child|kid|family)-(?:appropriate|friendly)|\bproblematic\s+(?:language|assumptions?|content)\b|\bgaslighting\b",
        ),
    )
)
_STEMS = tuple(
    sorted(
        {
            trigger
            for triggers, _ in (*_STRONG, *_WEAK)
            for trigger in triggers
            if trigger not in ("i ", "my ", "changes")
        }
        | {
            "i removed",
            "i replaced",
            "i changed",
            "i made",
            "i added",
            "i also",
            "i toned",
            "i simplified",
            "i reframed",
            "i kept",
            "i adjusted",
            "i modified",
        }
    )
)
_THINGS = r"(?:budget|schedule|plan|timetable|recipe|menu|itinerary|route|estimate|list|calendar|edition|rules?|law|policy|contract|agreement|bill|act|figures?|forecast)"
_AT_WORK = r" (?:at|behind|from) (?:the|your|a|an|our) (?!\w* ?(?:conversation|dialogue|prompt|response|chat))\w"
_OTHERS = re.compile(
    rf"\b(?:the|an?|your|our) (?:\w+ )?assistants?(?={_AT_WORK})"
    r"|\b(?:the|this|that|a|your|his|her|their) critique(?= (?:in|of|by|from) (?:the|this|that|a|an|your|his|her|their) (?:paper|article|essay|book|review|journal|film|study|novel|press|teacher|professor|editor))"
    rf"|\b(?:revised|reworked|rewritten) (?:\w+ )?{_THINGS}\b"
)
"""People and works of the world that share a name with the chat's own."""
_PERSON = re.compile(
    r"\b(?:shop|sales|store|pharmacy|dental|medical|nursing|office|legal|personal|executive|teaching|research|lab|laboratory|administrative|library|care|veterinary|production|flight|clinic)"
    rf" assistants?\b|\bassistants?{_AT_WORK}"
    r"|\b(?!(?:human|user|person|ai|it|that|this|here|there|who|what|let|everyone|someone|world)'s)[a-z]+'s assistants?\b(?!')"
)
_EMPLOYED = re.compile(
    r"\b(?:tell|ask|give|hire|train|let|pay|trust|e-?mail|call|remind|thank|send|have) (?:your|my|his|her|their|our|an?) (?:new |own |old |human )?assistants?\b(?!')"
)
_ANY_ASSISTANT = re.compile(r"\b(?:the|an?|your|our|this) (?:\w+ )?assistants?\b")
_READERS_TEXT = re.compile(
    r"\b(?:your|his|her|their|our) (?:\w+ ){0,2}(?:draft|essay|letter|cv|resume|résumé|manuscript|thesis|speech|poem|novel|dissertation|proposal|abstract|screenplay|lyrics|cover letter)\b"
    rf"|\b(?:version|edition|draft|wording) of (?:the|his|her|their|this|that) (?:\w+ )?{_WORKS}\b"
    r"|\b(?:passive|active) voice\b|\bwithout the passive\b|\b(?:grammar|punctuation|adverbs?|subordinate clause)\b"
)
_THEIR_TEXTS = (
    "draft", "essay", "letter", "cv", "resume", "résumé", "manuscript", "thesis", "speech", "poem", "novel", "dissertation",
    "proposal", "abstract", "screenplay", "lyrics", "version of", "edition of", "wording of", "voice", "the passive", "grammar", "punctuation",
    "adverb", "clause",
)  # fmt: skip
_REFLEX = re.compile(
    r"\b(?:stimul(?:us|i)|reflex(?:es)?|conditioned|pavlov\w*|immune|antibod(?:y|ies)|emergency services|first responders?)\b"
)
"""Responses of the body, and of those who come with sirens."""
_THE_RESPONSE = re.compile(r"\b(?:the|this|a|an|your|its|their) (?:\w+ )?responses?\b")
_REVISED = re.compile(
    r"\b(?:the|a|your|this) (?:revised|rewritten|reworked|rephrased) (?:version|draft|text|paragraph|sentence|copy)\b"
)
_REFUSES = re.compile(
    r"\b(?:cannot|can't|won't|will not|don't|do not|unable|refuse|decline|not (?:able|capable|comfortable|going|willing|here))\b"
)
_MY_EARLIER = re.compile(
    r"\bmy\s+responses\b|\bmy\s+(?:\w+\s+)?(?:original|previous|prior|preceding|last|latest|initial|earlier|former|first)\s+(?:\w+\s+)?(?:answers?|responses?|repl(?:y|ies))\b"
)
_READERS = re.compile(r"\W*(?:if|when|whenever|should) your\b")
_DECLINES = re.compile(
    r"\bi(?:'m| am) (?:not (?:equipped|able|allowed|permitted) to|unable to|not in the business of)\b|\bi (?:can't|cannot|won't|will not) (?:help|assist|provide|give|offer|tell|do|support)\b"
)
"""A refusal in the first person speaks to the human, whatever it calls the one who speaks."""
_ASKS = re.compile(
    r"(?:^|, )(?:do|did|does|are|is|was|were|can|could|would|should|what|why|how|who|which|have|has|may|might)\b[^,]*\?$"
)
_OPENER = re.compile(
    r"(?:sure|certainly|of course|absolutely|okay|ok|alright|great|understood|yes|no problem|i understand|i see|you're (?:absolutely )?right|thank you|thanks|i apologi[sz]e|my apologies|apologies|i'm sorry|sorry)\b[^.!?]{0,90}[.,!:;]?\s*$",
)
_HERE = re.compile(
    r"\b(?:voici|aqu[ií] (?:está|tienes|va)|hier (?:ist|sind|kommt)|ecco|segue|вот|hieronder)\b|以下|下面|这是|次の|こちら"
    r"|\b(?:here|here's|below|following|follows|this is|attempt|i've|i have|i would|i'd|i'll|let me|allow me|please find|one possible|(?:can|could|should|might|may|would) be|try|consider)\b|^(?:\*\*|#+\s*|\")?(?:the |a |my |an )?(?:\w+ ){0,3}?(?:revis|rewrit|re-writ|rephras|reword|updated|improved|modified|corrected|edited|alternative)"
)
_REDO = re.compile(
    r"\b(?:revis(?:ed|ion|e)|re-?writ(?:e|ten|ing)|re-?wrote|re-?phras(?:ed?|ing)|reword(?:ed|ing)?|reworked|reformulat(?:ed|ion)|paraphrased|toned[- ]down"
    r"|(?:updated|improved|modified|alternative|corrected|edited|better|safer|adjusted|refined|cleaned[- ]up|(?:more|less) [\w-]+(?:,? (?:and |or )?[\w-]+)?|[\w-]+-friendly|[\w-]+-appropriate|harmless|appropriate|respectful|neutral|polite|ethical) (?:\w+ ){0,2}?(?:version|response|reply|answer|revision|statement|message|attempt)"
    r"|new (?:response|reply|answer|revision)|try (?:this|that|it) again|(?:say|said|answer(?:ed)?|reply|put it) instead"
    r"|(?:version|response|reply) (?:of (?:the|my|your) (?:\w+ )?(?:response|reply|answer|message|statement)|that (?:is|avoids|removes|does)|without|with (?:the|all|any|a focus)))\b"
    r"|überarbeitete|verbesserte|umformuliert|révisée?|reformulée?|revisad[ao]|reescrit[ao]|riscritt[ao]|rivedut[ao]|исправленн|переписанн|переформулир|улучшенн|修改|修订|改写|改进后|重写|書き直|修正"
)
_REDO_STEMS = (
    "revis", "rewri", "re-wri", "rewro", "re-wro", "rephr", "re-phr", "reword", "rework", "reform", "paraph", "toned", "version", "response", "reply", "answer",
    "statement", "message", "attempt", "try ", " instead", "überarb", "verbess", "umform", "révis", "reescr", "riscr", "rivedu", "исправ", "перепис", "перефор", "улучш", "修", "改", "重写",
    "書き直",
)  # fmt: skip
_LABEL = re.compile(
    r"[\s\"“*#_]{0,6}(?:(?:new|final|revised|improved|better|suggested|safe|my) )?(?:response|reply|revision|rewrite)[*_]{0,2}[:：][*_]{0,2}\s+(?=[\w\"“'’«])",
    re.I,
)
"""What an answer is filed under: "Response:"."""
_LEAD_END = re.compile(r"[:：](?:\*\*|__|[\"”])?(?=\s|$|[\"“«*「]|[^\x00-\u2e7f])|\n")


_CHANGES = re.compile(
    r"\W*(?:(?:an? |the |my )?(?:explanation|summary|list|overview|description|notes?) (?:of|on|about) (?:the |my |these |all )?(?:changes|edits|revisions|modifications)(?: made)?"
    r"|(?:the |key |main )?(?:changes|edits|revisions|modifications) (?:i |that i |i've |that were )?made|what (?:i |i've |was |has been )?changed(?: and why)?)\W*"
)


class Talk(NamedTuple):
    start: int
    end: int
    n_words: int
    grade: int
    """2 strong, 1 weak, 0 no talk about an answer"""


class World(NamedTuple):
    """What a text tells of people and works of the world."""

    assistant: bool
    """an assistant of flesh and blood"""
    text: bool
    """a text of the reader's own, or somebody's work"""
    response: bool
    """a response of the body, or of a rescue service"""


NO_WORLD = World(False, False, False)


def preamble_end(text: str) -> int:
    """Where the answer begins behind a removable lead-in; 0 where there is none.

    >>> text = "Sure! Here's a revised version of the response: Please see a doctor."
    >>> text[preamble_end(text):]
    'Please see a doctor.'
    """
    begin = len(text) - len(text.lstrip())
    head = text[begin : begin + 420]
    if not any(map(head.lower().__contains__, _REDO_STEMS)):
        return 0
    if (label := _LABEL.match(text)) is not None:
        return label.end()
    for match in _LEAD_END.finditer(head):
        lead = head[: match.end()].strip().casefold().replace("’", "'")
        if not lead.strip('"“*#:_ '):
            continue
        end = begin + match.end()
        if not text[end:].strip().strip('"”*_ '):
            return 0
        if _is_lead(lead, colon=match.group()[0] != "\n"):
            return end + len(text[end:]) - len(text[end:].lstrip())
        if match.group() == "\n" and not any(grade(lead[a:b]) for a, b in spans(lead)):
            return 0
    return 0


def of_the_world(text: str) -> World:
    """What a text is about that shares its words with talk about an answer.

    >>> of_the_world("Ask the dental assistant."), of_the_world("Your draft is long.").text
    (World(assistant=True, text=False, response=False), True)
    """
    low = text.casefold().replace("’", "'")
    return World(
        "assistant" in low and (_PERSON.search(low) is not None or _EMPLOYED.search(low) is not None),
        any(map(low.__contains__, _THEIR_TEXTS)) and _READERS_TEXT.search(low) is not None,
        "respons" in low and _REFLEX.search(low) is not None,
    )


def grade(sentence: str, world: World = NO_WORLD, known: Sequence[str] = _STEMS) -> int:
    """2 where only a comment on an answer talks like this, 1 where an answer might, 0 otherwise; `of_the_world` and `stems`
    tell of the text around it.

    >>> grade("The assistant's response was harmful."), grade("Your answer sounds right."), grade("Wash your hands.")
    (2, 1, 0)
    """
    low = sentence.casefold().replace("’", "'")
    if not any(map(low.__contains__, known)):
        return 0
    if low.endswith("?") and _ASKS.search(low):
        return 0
    low = _OTHERS.sub(" ", low)
    if world.assistant:
        low = _ANY_ASSISTANT.sub(" ", low)
    if world.text:
        low = _REVISED.sub(" ", low)
    if world.response:
        low = _THE_RESPONSE.sub(" ", low)
    for triggers, pattern in _STRONG:
        if any(trigger in low for trigger in triggers) and pattern.search(low):
            # A refusal lists what it refuses, and an answer may take back an earlier one of its own.
            if pattern is _STRONG[0][1] and _REFUSES.search(low):
                continue
            if _READERS.match(low) or _DECLINES.search(low):
                return 1
            if (
                pattern in (_STRONG[2][1], _STRONG[4][1])
                and pattern.search(_MY_EARLIER.sub(" ", low)) is None
                and not _JUDGED.search(low)
            ):
                continue
            return 2
    for triggers, pattern in _WEAK:
        if any(trigger in low for trigger in triggers) and pattern.search(low):
            return 1
    return 0


def tells_of_changes(sentence: str) -> bool:
    """Whether a sentence is the heading of a list of what was changed.

    >>> tells_of_changes("### Explanation of changes"), tells_of_changes("Changes of the moon")
    (True, False)
    """
    return _CHANGES.fullmatch(sentence.casefold().replace("’", "'")) is not None


def talk(text: str, sentence_spans: list[tuple[int, int]] | None = None) -> list[Talk]:
    """Every sentence with its grade."""
    return [
        Talk(start, end, len(words(text[start:end])), grade(text[start:end]))
        for start, end in (spans(text) if sentence_spans is None else sentence_spans)
    ]


def stems(text: str) -> tuple[str, ...]:
    """The stems of talk in a text: a sentence of it that holds none of them has no grade."""
    low = text.casefold()
    if not any(map(low.__contains__, _STEMS)):
        return ()
    straight = low.replace("’", "'")
    return tuple(stem for stem in _STEMS if stem in straight)


def _is_lead(lead: str, *, colon: bool) -> bool:
    pieces = [lead[start:end] for start, end in spans(lead)]
    if not pieces:
        return False
    last = _OTHERS.sub(" ", pieces[-1])
    count = len(last.split())
    if count > 45 or _REDO.search(last) is None or _HERE.search(last) is None or _READERS_TEXT.search(last) is not None:
        return False
    if not colon and (
        count > 30
        or not (
            last.startswith(
                (
                    "here",
                    "the following",
                    "below",
                    "**",
                    "#",
                    "revis",
                    "rewrit",
                    "this is a re",
                    "i've re",
                    "i have re",
                    "i re",
                    "let me try",
                    "okay, let me try",
                    "sure, let me try",
                )
            )
            and (last[-1] in ".!*" or count <= 6)
        )
    ):
        return False
    return all(_OPENER.match(piece) or grade(piece) for piece in pieces[:-1])
