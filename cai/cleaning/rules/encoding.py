"""Broken encodings and control characters."""

from __future__ import annotations

import re

import ftfy
import regex
from ftfy import badness

from cai.cleaning.edits import Cut
from cai.cleaning.view import Row, View

ID = "encoding"
REASON = "mojibake and control characters are bytes read wrongly, not text"

# Everything that ftfy would do beside repairing encodings is off: quotes, ligatures, widths and forms are the author's.
_SETTINGS = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=True,
    fix_encoding=True,
    restore_byte_a0=True,
    replace_lossy_sequences=False,
    decode_inconsistent_utf8=True,
    fix_c1_controls=True,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    fix_surrogates=True,
    remove_control_chars=False,
    normalization=None,
    explain=False,
)
_COMMON = regex.compile(r"[^\x00-\x7f‘’“”–—…•\xa0\p{Emoji_Presentation}]")
_NOT_PLAIN = re.compile(r"[^\x00-\x7f‘’“”–—…•\xa0]+")
_CONTROL = regex.compile(
    r"\r\n?|\x1b\[[0-9;]*[a-zA-Z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffc\ufffe\uffff\ufff9-\ufffb]|[\ud800-\udfff]|(?<=[\w\s])\u200b(?=[\w\s])|\ufffd{2,}"
)

_CONTROL_ONE = re.compile(
    r"[\r\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffc-\uffff\ufff9-\ufffb\ud800-\udfff\u200b]"
)
"""One of these is in every match of `_CONTROL`."""


def find(view: View, row: Row) -> list[Cut]:
    """Cuts that repair each broken line and remove control characters."""
    text = view.text
    cuts = []
    if not text.isascii() and _COMMON.search("".join(_NOT_PLAIN.findall(text))) and badness.is_bad(text):
        start = 0
        for line in text.splitlines(keepends=True):
            if _COMMON.search(line) and badness.is_bad(line):
                fixed = ftfy.fix_text(line, _SETTINGS)
                if fixed != line:
                    cuts.append(_narrow(start, line, fixed))
            start += len(line)
    if cuts:
        return cuts  # control characters may be part of the broken encoding: the next round sees the repaired text
    if _CONTROL_ONE.search(text) is None:
        return []
    for match in _CONTROL.finditer(text):
        cuts.append(Cut(match.start(), match.end(), "\n" if match.group()[0] == "\r" else ""))
    return cuts


def _narrow(start: int, line: str, fixed: str) -> Cut:
    """The cut without the equal beginnings and ends of both."""
    shortest = min(len(line), len(fixed))
    left = 0
    while left < shortest and line[left] == fixed[left]:
        left += 1
    right = 0
    while right < shortest - left and line[-1 - right] == fixed[-1 - right]:
        right += 1
    return Cut(start + left, start + len(line) - right, fixed[left : len(fixed) - right])
