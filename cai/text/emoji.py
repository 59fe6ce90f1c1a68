"""Emoji and emoticons of a text as whole clusters.

Emoji are matched as grapheme clusters (joined by ZWJ, with skin tone, flag pairs, keycaps, tag flags), so that no rule can
cut one in half; emoticons are ASCII faces and kaomoji with a shape, not a list of names.
"""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import re
from functools import lru_cache

import regex

_PICTURE = (
    r"(?:\p{Emoji_Presentation}|(?=[\u2600-\u27bf\u2b05-\u2b55\U0001f000-\U0001faff])\p{Extended_Pictographic}|[★☆✓✗♪♫♩♬♡✿❀]"
    r"|\p{Extended_Pictographic}(?=\ufe0f))"
)
_MARKED = rf"{_PICTURE}[\ufe0e\ufe0f\p{{Emoji_Modifier}}]*+\u20e3?"
_EMOJI = (
    r"[\U0001f1e6-\U0001f1ff]{2}"
    r"|\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
    r"|[0-9#*]\ufe0f?\u20e3"
    rf"|{_MARKED}(?:\u200d(?:{_MARKED}|[♀♂⚕⚖⚧]\ufe0f?))*"
    r"|[\U0001f1e6-\U0001f1ff]"
)
_EYES = r"\^•°●◕◠ಠಥ╥≧≦⊙☉・＾￣ˊˋ´`´ω；T✧♥｡っ◔¬╯ʘ☆"
_KAOMOJI = (
    r"¯\\_+\(ツ\)_+/¯"
    rf"|[\\٩ヽ╰ƪʕ୧ᕙ乁]?[(（][^\p{{Latin}}\p{{Nd}}\s()（）]{{0,2}} ?(?P<eye>[{_EYES}>])[^\p{{Latin}}\p{{Nd}}\s()（）]{{1,4}}(?:(?P=eye)|[<´`｀])[^\p{{Latin}}\p{{Nd}}\s()（）]{{0,2}} ?[)）][/و๑ﾉノ╯づっゞ︵┻━]*(?: ?┻━┻)?"
    r"|ʕ[^\s]{1,4}ʔ"
    r"|\( ͡° ͜ʖ ͡°\)"
    r"|(?<!\w)\^[_.\-ｰ]\^(?!\w)|(?<![\w^])(?:\^\^|T[_.]T|>[_.]+<|ಠ_+ಠ|-_+-|[oO]_+[oO0]|0_+0|;_+;|QQ)(?![\w^])"
)
_ASCII = (
    r"(?:(?<![\w:;=])|(?<=[:;=][DPp)(]))[:;=]['’]?[-^~o]?(?:\)+|\(+|\]+|\[+|D+|P+|p+|\|+|\\+|[oO3]|\*(?!\*))(?<!=[|*\\3\[\]])(?![\w/]|:(?![DPp)(:;=]))"
    r"|(?<![^\s]):-?/(?=\s|$)"
    r"|(?<![\w:;=])(?:[xX]D+|<3+|</3)(?![\w/:])"
    r"|(?<=\w)[:;]-?\)+(?=\s|$)"
)
CLUSTER = regex.compile(rf"(?>{_EMOJI}|{_KAOMOJI}|{_ASCII})")
MAYBE = regex.compile(
    r"[★☆\u203c\u2049\u20e3\u2122\u2139\u2194-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff]|[:;=]['’]?[-^~o]?[)(\]\[DPpOo3*|/\\]|<3|</3|[xX]D|\^[_.\-ｰ]?\^|T\.T|_+[\wಠ.;<^>-]|ʕ|[(（] ?(?:[^\p{Latin}\p{Nd}\s]|T[^\p{Latin}\p{Nd}\s()（）])|ಠ|>[_.]+<|QQ"
)
"""Finds nothing only where there is no cluster: a cheap screen."""
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
_OUTRIGHT = r":;=<>^(（\\¯٩ヽ╰ƪʕ୧ᕙ乁ಠ©®\u203c-\u3299\U0001f000-\U0001faff"
STARTS = re.compile(  # one class in front, to which `re` skips without trying each place
    rf"[{_OUTRIGHT}T\-oOxXQ0-9#*](?:(?<=[{_OUTRIGHT}])|(?<=T)(?=[_.]T)|(?<=-)(?=_)|(?<=[oO0])(?=_)|(?<=[xX])(?=D)|(?<=Q)(?=Q)|(?<=[0-9#*])(?=\ufe0f?\u20e3))"
)
"""Every place where a cluster can begin: trying these alone costs a third of looking for clusters everywhere."""
_LONE = frozenset(
    regex.findall(
        r"(?![\U0001f1e6-\U0001f1ff\U0001f3f4])(?:\p{Emoji_Presentation}|\p{Extended_Pictographic})",
        "".join(map(chr, (*range(0x2600, 0x27C0), *range(0x1F000, 0x1FB00)))),
    )
)
"""Pictures that are a cluster where none of `_JOINS` follows them."""
_JOINS = regex.compile(r"[\u200d\u20e3\ufe0e\ufe0f\p{Emoji_Modifier}]")
_DROPPED = regex.compile(r"[\ufe0e\ufe0f\p{Emoji_Modifier}]")


def clusters(text: str) -> list[tuple[int, int, str]]:
    """(start, end, canonical form) of every emoji cluster and emoticon, in order; equal forms are the same face.

    The canonical form has no skin tone and no variation selector; an ASCII emoticon has no nose and one mouth.

    >>> clusters("Bye :-)) 👍🏽👍 🇫🇷")
    [(4, 8, ':)'), (9, 11, '👍'), (11, 12, '👍'), (13, 15, '🇫🇷')]
    """
    if MAYBE.search(text) is None:
        return []
    found = []
    end = 0
    for match in STARTS.finditer(text):
        start = match.start()
        if start < end:
            continue
        if text[start] in _LONE and not _JOINS.match(text, start + 1):
            end = start + 1
            found.append((start, end, _canonical(text[start])))
        elif cluster := CLUSTER.match(text, start):
            end = cluster.end()
            found.append((start, end, _canonical(cluster.group())))
    return found


@lru_cache(4096)
def _canonical(cluster: str) -> str:
    if cluster.isascii():
        face = cluster.casefold()
        if face[0] in ":;=" and len(face) > 1:
            eyes = ":" if face[0] == "=" else face[0]
            return eyes + face[-1]
        return face[:2] if face[0] == "x" else face
    return _DROPPED.sub("", cluster) or cluster
