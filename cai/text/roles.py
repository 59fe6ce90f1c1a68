"""Role tags and chat-template tokens that leak from a prompt format into an answer.

Recognised by shape wherever they have one (``<|...|>``, ``[INST]``, ``### Name:``), by role name only at the start of a
line or of a sentence and with a colon.
"""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

from collections.abc import Iterator

import regex

_USER = r"(?:human|user|customer|client|person|you|question|instruction|input|prompt|usuario|utilisateur|benutzer|nutzer|mensch|用户|人类|пользователь|человек)"
_MODEL = r"(?:(?:the )?(?:ai )?assistant|ai|chatbot|bot|chatgpt|gpt|model|claude|llama|response|answer|output|asistente|助手|助理|ассистент|assistent)"
_PLAIN_USER = r"(?:Human|User|HUMAN|USER|human|user|Usuario|Utilisateur|Benutzer|用户|人类|Пользователь|Человек)"
# The headings of the project's own one-message request (cai/prompting/revision.py): a small model goes on with them.
_REQUEST = r"(?:Draft answer|What is wrong with it|S(?:ystem|YSTEM)(?=[ \t]*:[ \t]*You(?:'re| are)\b)|Task(?=[ \t]*:[ \t]*(?:Write|Rewrite|Give|Change|Say|Point out|Name)\b))"
_PLAIN_MODEL = r"(?:(?:AI )?Assistant|ASSISTANT|assistant|AI|Chatbot|ChatGPT|Bot|Asistente|Assistent|助手|助理|Ассистент|Claude|Llama|GPT)"

_INITIAL_HUMAN = regex.compile(r"\n[ \t]*\n[ \t]*(?P<tag>[HQ][ \t]*:)(?=\s)")
_FORM = regex.compile(
    r"(?i)\b(?:questions?|quiz|q ?& ?a|faqs?|interview|examples?|flash ?cards?|dialog(?:ue)?|conversation|form|trivia|riddles?)\b"
)
"""Words of a text that goes on in questions and answers of its own."""
FEWEST_BEFORE = 20
_INITIAL_MODEL = regex.compile(r"^[ \t]*A[ \t]*:(?=\s)", regex.M)
TOKEN = regex.compile(
    r"<[|｜][^|｜<>\n]{1,40}[|｜]>"  # ChatML, Llama 3, DeepSeek
    r"|<</?SYS>>|\[/?(?:INST|SYS|SYSTEM|USER|HUMAN|ASSISTANT|BOT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
    r"|</?(?:start_of_turn|end_of_turn|start_of_text|end_of_text|begin_of_text|endoftext|bos|eos|eot|eod|pad|unk|sep|cls|mask|im_start|im_end|im_sep|eot_id|start_header_id|end_header_id|assistant|user|human|system|turn|sys|inst|bot|ai)\d*/?>"
    r"|\[(?:CLS|SEP|PAD|MASK|UNK|EOS|BOS|EOT)\]"
    r"|(?:\A\s*<s>)|</s>(?=\s*(?:\Z|</?s>|\[INST\]|\n))",
    regex.I,
)
"""A template token."""
_END = regex.compile(
    r"<[|｜]\s*(?:im_end|eot_id|endoftext|end_of_text|end[▁_ ]of[▁_ ]sentence|end|eom_id|eos|eot|user|system|return|END_OF_TURN_TOKEN)\s*[|｜]>|<(?:end_of_turn|end_of_text|endoftext|eos|eot|im_end|user|human)>|\[INST\]|\[(?:USER|HUMAN)\]|</s>",
    regex.I,
)
_ASKING = regex.compile(
    r"(?:\[(?:INST|USER|HUMAN|SYS|SYSTEM)\]|<<SYS>>|<[|｜](?:user|system|human)[|｜]>|<(?:user|human|system)>)", regex.I
)
"""A token before words that are not the answer's."""
_HOLDER = regex.compile(
    r"\{\{[ \t]*(?:(?P<user>user|human|person|input)|char|assistant|bot|model|ai)[ \t]*\}\}[ \t]*:?", regex.I
)
_BARE = regex.compile(r"^[ \t]*(?:(?P<user>user|human|system)|assistant|model)[ \t]*$\n?", regex.M)
"""A line of nothing but a role: what is left of ChatML where the decoder skips its tokens."""
_HEADER = regex.compile(
    rf"(?:^[ \t]*|(?<=[.!?…。！？][\"'”’)]?)[ \t]+)(?:#{{2,6}}[ \t]*(?:\*\*)?(?:(?P<user>{_USER})|(?P<model>{_MODEL}|system))(?:\*\*)?[ \t]*:(?:\*\*)?[ \t]*"
    rf"|#{{3}}[ \t]*(?:(?P<user2>human|user|instruction|input)|(?P<model2>assistant|response|system))[ \t]*$)",
    regex.I | regex.M,
)
_PLAIN = regex.compile(
    rf"(?:^[ \t>]*|(?<=[.!?…。！？][\"'”’)]?)[ \t]+)(?P<tag>(?:\*\*|__|\[|\()?(?:(?P<user>{_PLAIN_USER}|{_REQUEST})|(?P<model>{_PLAIN_MODEL}))(?:[ \t]*\d{{1,2}})?(?:\*\*|__|\]|\))?[ \t]*[:：](?:\*\*|__)?)(?!(?<=[.!?][ \t]\w{{4,9}}:)[ \t]an?[ \t])(?=\s|\*|\"|[\p{{Han}}]|$)",
    regex.M,
)
MAYBE = regex.compile(
    r"<[|｜/a-zA-Z]|<<|\{\{|\n[ \t]*(?:user|human|assistant|model)[ \t]*\n|\[/?[A-Z]{2}|##|(?:Draft answer|What is wrong with it|Task|S(?:ystem|YSTEM)|[Uu]ser|USER|[Hh]uman|HUMAN|[Aa]ssist[ae]nt|ASSISTANT|A[Ii]|GPT|[Bb]ot|Claude|Llama|Usuario|Utilisateur|Benutzer|用户|人类|助手|助理|Пользователь|Человек|Ассистент|Asistente|Human|\n[HQ])(?: ?\d+)?[*_\])]*\s*[:：]"
)
"""Finds nothing only where there is no tag: a cheap screen."""


def tags(text: str) -> list[tuple[int, int, str]]:
    """(start, end, kind) of every role tag and template token: kind "user" opens a turn that is not the answer's,
    "end" closes the answer, "model" only names it.

    >>> tags("Sure.<|im_end|>")
    [(5, 15, 'end')]
    >>> tags("Assistant: I can't.\\n\\nHuman: Why?")
    [(0, 10, 'model'), (21, 27, 'user')]
    """
    if MAYBE.search(text) is None:
        return []
    found = []
    for match in TOKEN.finditer(text) if "<" in text or "[" in text else ():
        if _html(text, match):
            continue
        token = match.group()
        opens = _ASKING.fullmatch(token) is not None and not text[: match.start()].strip()
        found.append((match.start(), match.end(), "user" if opens else "end" if _END.fullmatch(token) else "model"))
    for match in _HEADER.finditer(text) if "##" in text else ():
        found.append((match.start(), match.end(), "user" if match["user"] or match["user2"] else "model"))
    for start, end in _lines_with_colons(text):
        for match in _PLAIN.finditer(text, start, end):
            found.append((*match.span("tag"), "user" if match["user"] else "model"))
    for match in _HOLDER.finditer(text) if "{{" in text else ():
        found.append((match.start(), match.end(), "user" if match["user"] else "model"))
    bare = list(_BARE.finditer(text))
    if len({match["user"] is None for match in bare}) == 2:  # both sides of a dialogue
        found.extend((match.start(), match.end(), "user" if match["user"] else "model") for match in bare)
    found.extend(_initials(text))
    found.sort()
    return found


def _lines_with_colons(text: str) -> Iterator[tuple[int, int]]:
    """The lines with the colon that a role's name has behind it, each with its line break."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        if text.find(":", start, end) >= 0 or text.find("：", start, end) >= 0:
            yield start, end
        start = end


def _initials(text: str) -> list[tuple[int, int, str]]:
    """ "H:" or "Q:" and "A:" on paragraphs of their own, where the text before them is an answer and no dialogue or quiz."""
    human = _INITIAL_HUMAN.search(text)
    if human is None or not (before := text[: human.start()].rstrip()):
        return []
    if human["tag"][0] == "Q" and (
        len(before.split()) < FEWEST_BEFORE or not before.endswith((".", "!", "?")) or _FORM.search(before)
    ):
        return []
    model = _INITIAL_MODEL.search(text, human.end())
    if model is None or _INITIAL_MODEL.search(text, 0, human.start() + 2):
        return []
    return [(human.start("tag"), human.end("tag"), "user")]


def _html(text: str, match: regex.Match[str]) -> bool:
    """Whether a word in angle brackets has its closing half on the same line, as in HTML or XML."""
    token = match.group()
    if token[0] != "<" or token[1] in "|｜<" or "_" in token:
        return False
    name = token.strip("</> ").casefold()
    if name == "s" and text.lstrip().startswith("<s>") and text.rstrip().endswith("</s>") and text.count("s>") == 2:
        return False  # around the whole text it strikes nothing out: begin and end of a sequence
    if name in ("s", "user", "human", "system", "assistant", "bot", "ai", "turn", "mask", "input"):
        line_start = text.rfind("\n", 0, match.start()) + 1
        line_end = text.find("\n", match.end())
        line = text[line_start : len(text) if line_end < 0 else line_end].casefold()
        return f"<{name}>" in line and f"</{name}>" in line and line.strip() != token
    return False
