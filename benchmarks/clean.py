"""Rows per CPU second of `cai clean` on rows of about 1,000 characters, JSONL in, JSONL and an edit log out.

    python benchmarks/clean.py [N=100000] [WORKERS=1]

Good rows are put together from tests/text/data/legitimate.jsonl, bad ones get a degenerate tail; the shares are 10 %
and 50 % as in the project's targets. The time that json takes for a row tells how busy the machine was (10 us where
nothing else ran). CPU seconds are those of this process and its children, the peak is this process's.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from cai.cleaning.files import clean_file
from cai.cleaning.plan import from_list
from cai.cleaning.rules import STANDARD

PLAN = from_list("rules", [rule for rule in STANDARD if rule != "copies"])
LENGTH = 1000
TAILS = (
    " Please let me know if you have any other questions! :) Have a great day! :)"
    " Please let me know if you have any other inquiries! :) Have a wonderful day! :)",
    " 😊😊😊😊😊😊😊😊",
    " I will always be there for you. I will always be there for you.",
    " and then we go on",
    "\n\nHuman: And then?\n\nAssistant: Then you",
)


def rows(n: int, bad_share: float, seed: int = 0) -> list[str]:
    """n texts, this share of them degenerate."""
    draw = random.Random(seed)
    data = Path(__file__).parents[1] / "tests" / "text" / "data" / "legitimate.jsonl"
    read = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    pool = sorted({row["text"] for row in read if row["kind"] in ("plain", "enumeration") and row["language"] == "en"})
    texts = []
    for _ in range(n):
        parts = draw.sample(pool, min(len(pool), 6))
        text = "\n\n".join(parts)
        if draw.random() < bad_share:
            text = text[:600] + ". " + draw.choice(TAILS) * draw.randint(3, 6)
        texts.append(text[: LENGTH + 200])
    return texts


def cpu_seconds() -> float:
    """CPU seconds of this process and the children it has waited for."""
    return sum(
        use.ru_utime + use.ru_stime
        for use in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    n, workers = (int(value) for value in (*sys.argv[1:], *("100000", "1")[len(sys.argv) - 1 :]))
    for share in (0.1, 0.5):
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
            texts = rows(n, share)
            source.write_text("".join(json.dumps({"revision": text}) + "\n" for text in texts), encoding="utf-8")
            length = sum(map(len, texts)) / n
            lines = [json.dumps({"revision": text}) for text in texts[:5000]]
            before = time.process_time()
            for line in lines:
                json.dumps(json.loads(line))
            floor = (time.process_time() - before) / len(lines) * 1e6
            del lines
            del texts
            before, start = cpu_seconds(), time.perf_counter()
            done = clean_file(source, target, plan=PLAN, edits=Path(folder) / "e.jsonl", workers=workers)
            used, wall = cpu_seconds() - before, time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{share:.0%} bad: {n} rows of {length:.0f} characters, {n / used:.0f} rows a CPU second,"
            f" {n / wall:.0f} a second, {workers} workers, {done.n_edited} edited,"
            f" {done.n_rows - done.n_kept} dropped, peak {peak} MB, json there and back {floor:.1f} us a row"
        )


if __name__ == "__main__":
    main()
