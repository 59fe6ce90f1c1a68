"""Clean random Unicode strings and count exceptions, broken logs and unstable results: none is allowed.

python benchmarks/fuzz_clean.py [N=1000000] [SEED=0]
"""

# ruff: noqa: E501  (tables of words and patterns read better unbroken)

from __future__ import annotations

import random
import sys

from cai.cleaning.clean import Row, clean_batch, clean_row
from cai.cleaning.edits import apply, undo
from cai.cleaning.plan import from_list
from cai.cleaning.rules import STANDARD

PIECES = (
    "Have a great day! ", ":) ", "😊", "👨‍👩‍👧", "\n", "\n\n", "Human: ", "<|im_end|>", "1. a\n", "- b\n", "```", "| a | b |", '"', "“", "loaded ", "Here's a revised version: ",
    "the response was ", "我们", "。", "é", "â€™", "\x00", "\ud800", "\u202e", "\u200d", "\ufe0f", "\U0001f1eb", "?", "!", ".", ",", " ", "and ", "not ", "# ", "**", ">", "\r", "\x1b[0m", "\u3000", "İ", "ß", "\u0301",
)  # fmt: skip


CHUNK = 1000
ENDS = (None, "stop", "length")


def _text(draw: random.Random) -> str:
    return "".join(
        draw.choice(PIECES) * draw.choice((1, 1, 1, 2, 5))
        if draw.random() < 0.6
        else chr(draw.choice((draw.randint(0, 0x2FF), draw.randint(0, 0xFFFF), draw.randint(0, 0x10FFFF))))
        for _ in range(draw.randint(0, 12))
    )


def main() -> int:
    n, seed = (int(value) for value in (*sys.argv[1:], *("1000000", "0")[len(sys.argv) - 1 :]))
    draw = random.Random(seed)
    plan = from_list("rules", list(STANDARD))
    kept = failed = unstable = 0
    for first in range(0, n, CHUNK):
        rows = [
            Row(str(number), _text(draw), finish_reason=draw.choice(ENDS))
            for number in range(first, min(n, first + CHUNK))
        ]
        try:
            results = clean_batch(rows, plan)
            alone = clean_row(rows[0], plan)
            again = clean_batch(
                [row._replace(text=one.text) for row, one in zip(rows, results, strict=True) if one.text is not None],
                plan,
            )
        except Exception as error:  # noqa: BLE001  the point of a fuzzer
            failed += 1
            if failed < 5:
                print(type(error).__name__, error, "in the chunk from", first)
            continue
        stable = iter(again)
        for row, one in zip(rows, results, strict=True):
            exact = undo(one.edits, apply(one.edits, row.text)) == row.text
            if one.text is not None:
                kept += 1
                exact &= next(stable).text == one.text
            exact &= row is not rows[0] or alone == one
            unstable += not exact
            if not exact and unstable < 5:
                print("not exact:", ascii(row.text), ascii(one))
    print(f"{n} strings, {kept} kept, {failed} chunks with an exception, {unstable} not exact or not stable")
    return bool(failed or unstable)


if __name__ == "__main__":
    raise SystemExit(main())
