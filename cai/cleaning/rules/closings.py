"""Chatbot closings that pile up."""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import re
from difflib import SequenceMatcher

from cai.cleaning.edits import Cut
from cai.cleaning.rules.near_repeats import units_of
from cai.cleaning.view import Row, View

ID = "closings"
REASON = "one goodbye is polite; the seed paper's DPO model said goodbye until the budget ended"

MOST = 2
NEAR, NEAR_BEGUN_ALIKE = 0.75, 0.6
COURTESY = frozenset(
    [
        "thank",
        "thanks",
        "please",
        "help",
        "helping",
        "helped",
        "helps",
        "helpful",
        "assist",
        "assisting",
        "assistance",
        "support",
        "questions",
        "question",
        "inquiries",
        "inquiry",
        "concerns",
        "concern",
        "queries",
        "query",
        "feel",
        "free",
        "contact",
        "reach",
        "day",
        "evening",
        "night",
        "week",
        "weekend",
        "morning",
        "afternoon",
        "glad",
        "happy",
        "pleasure",
        "pleased",
        "delighted",
        "hope",
        "wish",
        "wishes",
        "best",
        "luck",
        "care",
        "bye",
        "goodbye",
        "farewell",
        "cheers",
        "regards",
        "sincerely",
        "welcome",
        "hesitate",
        "service",
        "talk",
        "chat",
        "soon",
        "blessed",
        "enjoy",
        "appreciate",
        "appreciated",
        "grateful",
        "anytime",
        "shoulder",
        "listening",
        "ear",
        "danke",
        "gerne",
        "hilfe",
        "fragen",
        "tag",
        "helfen",
        "melden",
        "wünsche",
        "tschüss",
        "grüße",
        "merci",
        "aide",
        "questions",
        "journée",
        "bonne",
        "plaisir",
        "bientôt",
        "revoir",
        "cordialement",
        "gracias",
        "ayuda",
        "ayudar",
        "preguntas",
        "día",
        "suerte",
        "gusto",
        "adiós",
        "saludos",
        "obrigado",
        "obrigada",
        "ajuda",
        "perguntas",
        "dia",
        "grazie",
        "aiuto",
        "domande",
        "giornata",
        "piacere",
        "arrivederci",
        "спасибо",
        "пожалуйста",
        "помощь",
        "помочь",
        "вопросы",
        "вопрос",
        "дня",
        "удачи",
        "свидания",
    ]
)
PLAIN = frozenset(
    [
        "touch",
        "up",
        "comes",
        "came",
        "arise",
        "arises",
        "drop",
        "line",
        "message",
        "give",
        "shout",
        "turn",
        "things",
        "a",
        "an",
        "and",
        "any",
        "anything",
        "else",
        "all",
        "always",
        "again",
        "ahead",
        "am",
        "are",
        "as",
        "at",
        "ask",
        "be",
        "been",
        "being",
        "but",
        "can",
        "chance",
        "come",
        "could",
        "do",
        "don't",
        "ever",
        "everything",
        "for",
        "forward",
        "from",
        "further",
        "future",
        "get",
        "go",
        "going",
        "good",
        "great",
        "have",
        "here",
        "hesitate",
        "how",
        "i",
        "i'd",
        "i'll",
        "i'm",
        "if",
        "in",
        "is",
        "it",
        "it's",
        "just",
        "know",
        "learn",
        "let",
        "let's",
        "lovely",
        "love",
        "many",
        "me",
        "more",
        "most",
        "much",
        "my",
        "need",
        "needed",
        "needs",
        "nice",
        "need",
        "not",
        "of",
        "on",
        "or",
        "other",
        "out",
        "rest",
        "safe",
        "see",
        "so",
        "some",
        "something",
        "stay",
        "staying",
        "sure",
        "take",
        "that",
        "the",
        "there",
        "these",
        "this",
        "time",
        "to",
        "today",
        "too",
        "tomorrow",
        "until",
        "us",
        "very",
        "want",
        "we",
        "we're",
        "well",
        "what",
        "whatever",
        "when",
        "whenever",
        "while",
        "wonderful",
        "will",
        "with",
        "would",
        "you",
        "you'd",
        "you'll",
        "you're",
        "your",
        "yourself",
        "additional",
        "amazing",
        "available",
        "back",
        "beautiful",
        "bless",
        "bright",
        "continue",
        "conversation",
        "different",
        "easily",
        "forget",
        "fantastic",
        "fun",
        "great",
        "happily",
        "hello",
        "hey",
        "hi",
        "keep",
        "kind",
        "may",
        "moment",
        "need",
        "one",
        "only",
        "opportunity",
        "peace",
        "pleasant",
        "reaching",
        "really",
        "remember",
        "remind",
        "say",
        "shine",
        "smile",
        "smiling",
        "someone",
        "speak",
        "speaking",
        "superb",
        "terrific",
        "topic",
        "topics",
        "truly",
        "using",
        "warm",
        "wish",
        "wishing",
        "work",
        "working",
        "you've",
        "excellent",
        "way",
        "assistant",
        "matter",
        "friend",
        "friends",
        "dear",
        "information",
        "regarding",
        "about",
        "ein",
        "eine",
        "einen",
        "ihnen",
        "dir",
        "sie",
        "du",
        "ich",
        "für",
        "und",
        "noch",
        "schönen",
        "weitere",
        "bei",
        "zu",
        "haben",
        "wenn",
        "bitte",
        "mich",
        "jederzeit",
        "je",
        "vous",
        "une",
        "pour",
        "si",
        "avez",
        "d'autres",
        "n'hésitez",
        "pas",
        "à",
        "me",
        "bonne",
        "de",
        "la",
        "le",
        "les",
        "autres",
        "avec",
        "si",
        "tienes",
        "más",
        "que",
        "tengas",
        "un",
        "buen",
        "te",
        "puedo",
        "algo",
        "en",
        "lo",
        "espero",
        "если",
        "у",
        "вас",
        "есть",
        "ещё",
        "еще",
        "вам",
        "хорошего",
        "всего",
        "до",
        "буду",
        "рад",
        "рада",
        "обращайтесь",
    ]
)
FORMULAS = (
    r"(?:please )?(?:do not|don't|never) hesitate to|(?:please )?feel free to|(?:please )?let me know (?:if|when|whether|how)"
    r"|i hope (?:that )?(?:this|that|these|it|my|the|you).*(?:help|useful|clear|enjoy)|(?:if|should) you (?:ever )?(?:have|need|want|would like)"
    r" .*(?:question|help|assistance|support|information|ask|contact|let me know|reach out)|i (?:wish|am wishing) you|wish(?:ing)? you"
    r"|ich hoffe.*(?:hilf|helf|geholfen|nützlich|weiter)|(?:wenn|falls) (?:sie|du|ihr) .*(?:frage|hilfe)|zögern? (?:sie |du )?nicht"
    r"|melden sie sich|j'espère que .*(?:aid|utile)|n'hésite[sz]? pas|si vous avez .*question|si tu as .*question"
    r"|espero que .*(?:ayud|útil|sirv|ajud)|no dudes en|no dude en|si (?:tienes|tiene|necesitas|necesita) .*(?:pregunta|duda|ayuda)"
    r"|não hesite|se (?:você )?(?:tiver|precisar) .*(?:pergunta|dúvida|ajuda)|spero che .*(?:aiut|util)|non esitare"
    r"|se (?:hai|ha|avete) .*domand|ik hoop dat .*(?:help|geholpen|nuttig)|aarzel niet|als (?:je|u) .*vragen"
    r"|mam nadzieję.*(?:pom|przyda)|nie wahaj się|umarım .*(?:yardımcı|faydalı)|çekinme|hy vọng .*(?:giúp|hữu ích)"
    r"|semoga .*(?:membantu|bermanfaat)|jangan ragu|jag hoppas .*(?:hjälp|nytta)|tveka inte"
    r"|надеюсь.*(?:помо|полезн)|если у (?:вас|тебя) .*вопрос|не стесняйтесь|обращайтесь"
    r"|آمل أن .*(?:يساعد|تساعد|مفيد)|إذا كان لديك .*(?:سؤال|أسئلة|استفسار)|لا تتردد"
    r"|希望.*(?:帮助|有用|幫助)|如果.*(?:问题|疑问|問題)|(?:请|欢迎)?随时|お役に立|ご?(?:質問|不明).*(?:ください|下さい)|お気軽に"
    r"|도움이 되|질문이 있|언제든지|आशा है|अगर आप.*(?:सवाल|प्रश्न)|बेझिझक"
)
"""How offers of more help and hopes to have helped begin; what they name ("about tulips") varies."""
FORMULA_HINTS = frozenset(
    [
        "hesitate",
        "feel",
        "let",
        "hope",
        "wish",
        "wishing",
        "question",
        "questions",
        "help",
        "assistance",
        "support",
        "information",
        "ask",
        "contact",
        "reach",
        "know",
        "hoffe",
        "wenn",
        "falls",
        "melden",
        "espero",
        "dudes",
        "dude",
        "tienes",
        "tiene",
        "necesitas",
        "necesita",
        "hesite",
        "tiver",
        "precisar",
        "spero",
        "esitare",
        "domanda",
        "domande",
        "hoop",
        "aarzel",
        "als",
        "mam",
        "wahaj",
        "semoga",
        "jangan",
        "si",
    ]
)
"""One of these ASCII words stands in every formula that is ASCII from end to end."""
_FORMULA = re.compile(rf"(?:{FORMULAS})")
_FORMULA_WORDS = 16
_HARD = frozenset(["can't", "cannot", "won't", "not", "never"])


def find(view: View, row: Row) -> list[Cut]:
    """Cuts of all closings beyond the second where at least four end the text, or three that share their words."""
    if not (_may_end_in_many(_last_line(view)) and _may_end_in_many(view.words)):
        return []
    words, free = view.words, view.free
    place = len(words) - 1
    closing = []
    while place >= 0 and free[place] and (not words[place] or _may_close(words[place])):
        if words[place]:
            closing.append(place)
        place -= 1
    closing.reverse()
    while closing and not _closes(words[closing[0]]):  # words of nothing count only between closings
        closing.pop(0)
    while closing and not _closes(words[closing[-1]]):
        closing.pop()
    if len(closing) <= MOST or not closing or (closing[0] == 0 and len(closing) < 4):
        return []
    kept: list[int] = []
    surplus: set[int] = set()
    for place in closing:
        said = set(words[place]) & COURTESY
        before = set().union(*(set(words[other]) & COURTESY for other in kept)) if kept else set()
        if (
            len(kept) >= MOST
            or (kept and len(said & before) * 2 > len(said) and len(closing) > 3)
            or any(_near(words[other], words[place]) for other in kept)
        ):
            surplus.add(place)
        else:
            kept.append(place)
    shared = set(words[closing[-1]]) & set().union(*(set(words[other]) for other in closing[:2])) & COURTESY
    if len(closing) == 3 and len(surplus) < 2 and (not shared or len(words) > 6):
        return []
    return view.without(surplus)


def _last_line(view: View) -> list[list[str]]:
    """The words of the sentences of the last line, where a line break cuts them off for sure; else none.

    A line without faces has the same sentences alone as in its text, and most good texts are done with here.
    """
    text = view.text
    start = text.rfind("\n", 0, len(text.rstrip())) + 1
    if not (start and view.faceless and text.isascii()) or "words" in vars(view):
        return []
    line = View(text[start:])
    line.faceless = True
    return line.words


def _may_end_in_many(words: list[list[str]]) -> bool:
    """Whether more than `MOST` sentences at the end may close, or all of them, behind which others may stand."""
    closing = 0
    for said in reversed(words):
        if said and not _may_close(said):
            return False
        closing += bool(said)
        if closing > MOST:
            break
    return True


def _may_close(words: list[str]) -> bool:
    """Whether a sentence closes, or is about nothing at all ("I'm here whenever you need me")."""
    return _closes(words) or (2 < len(words) <= 8 and all(word in COURTESY or word in PLAIN for word in words))


def _closes(words: list[str]) -> bool:
    return is_closing(words) or (len(words) <= _FORMULA_WORDS and _FORMULA.match(" ".join(words)) is not None)


def _near(first: list[str], second: list[str]) -> bool:
    if first[:2] == second[:2] and _FORMULA.match(" ".join(first)) and _FORMULA.match(" ".join(second)):
        return True
    first, second = units_of(first), units_of(second)
    if min(len(first), len(second)) < 4:
        return False
    ratio = SequenceMatcher(None, first, second, autojunk=False).ratio()
    return ratio >= (NEAR if first[:2] != second[:2] else NEAR_BEGUN_ALIKE)


def is_closing(words: list[str]) -> bool:
    """Whether a sentence is courtesy and nothing else: no word of it is about anything.

    >>> is_closing("have a wonderful day".split()), is_closing("have a glass of water".split())
    (True, False)
    """
    if len(words) > 30 or (_HARD & set(words) and "hesitate" not in words):
        return False
    courtesy = sum(word in COURTESY for word in words)
    if not courtesy:
        return False
    known = sum(word in COURTESY or word in PLAIN for word in words)
    return known >= len(words) - len(words) // 8
