"""This project's cleaner beside the known ones: what it costs, and what each does to the labelled texts.

    PYTHONPATH=. PYTHON benchmarks/clean_peers.py [N=2000]

PYTHON has ftfy, polars, regex, datatrove and py-data-juicer; what cannot be imported is left out with a line that says
so. data-juicer installs packages while it runs unless UV_OFFLINE=1 is set. All take turns of 100 rows of
benchmarks/clean.py in one process, so that a busy machine slows all alike; best turn and mean of each are given, in
rows a CPU second.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from clean import PLAN, rows

from cai.cleaning.clean import Row, clean_batch
from cai.text.sentences import words

Clean = Callable[[list[str]], list[str | None]]
"""The texts as a cleaner leaves them, None for those that it drops."""
DATA = Path(__file__).parents[1] / "tests" / "text" / "data"
TURN = 100
_STRAIGHT = str.maketrans("‘’“”", "''\"\"")


def ours(texts: list[str]) -> list[str | None]:
    """What `cai clean` makes of texts of which nothing else is known."""
    return [one.text for one in clean_batch([Row(str(place), text) for place, text in enumerate(texts)], PLAN)]


def peers() -> Iterator[tuple[str, Clean]]:
    """(name, cleaner) of every peer that can be imported."""
    try:
        import ftfy
        from datatrove.data import Document
        from datatrove.pipeline.filters import GopherRepetitionFilter

        repeats = GopherRepetitionFilter()

        def trove(texts: list[str]) -> list[str | None]:
            fixed = [ftfy.fix_text(text) for text in texts]
            return [text if repeats.filter(Document(text=text, id="1")) is True else None for text in fixed]

        yield "ftfy.fix_text", lambda texts: [ftfy.fix_text(text) for text in texts]
        yield "datatrove repetition filter + ftfy", trove
    except ImportError as error:
        print(f"datatrove: {error}")
    try:
        from data_juicer.ops.mapper.fix_unicode_mapper import FixUnicodeMapper
        from data_juicer.ops.mapper.remove_repeat_sentences_mapper import RemoveRepeatSentencesMapper
        from data_juicer.ops.mapper.whitespace_normalization_mapper import WhitespaceNormalizationMapper

        made = [FixUnicodeMapper(), WhitespaceNormalizationMapper(), RemoveRepeatSentencesMapper()]

        def juicer(texts: list[str]) -> list[str | None]:
            samples = {"text": texts}
            for one in made:
                samples = one.process_batched(samples)
            return list(samples["text"])

        yield "data-juicer, three editors", juicer
    except Exception as error:  # noqa: BLE001  it fails in many ways where a package is missing
        print(f"data-juicer: {type(error).__name__}: {error}")


def speed(cleaners: dict[str, Clean], n: int) -> None:
    """Print rows a CPU second of each cleaner at both shares of degenerate rows."""
    for share in (0.1, 0.5):
        texts = rows(n, share)
        used: dict[str, list[float]] = {name: [] for name in cleaners}
        for first in range(0, n, TURN):
            for name, clean in cleaners.items():
                before = time.process_time()
                clean(texts[first : first + TURN])
                used[name].append(time.process_time() - before)
        for name, turns in used.items():
            print(
                f"{share:.0%} bad, {name}: mean {n / sum(turns):.0f} rows a CPU second,"
                f" best turn {TURN / min(turns):.0f}; ours is {sum(turns) / sum(used['ours']):.1f} times as fast"
            )


def quality(cleaners: dict[str, Clean]) -> None:
    """Print recall and false edits of each on the labelled sets; the first was at hand when the rules were written."""
    for name, clean in cleaners.items():
        for sets in ([""], ["hard_", "third_", "fourth_", "fifth_", "sixth_", "seventh_", "eighth_"]):
            bad, good = (
                [row for one in sets for row in _labelled(f"{one}{kind}")] for kind in ("degenerate", "legitimate")
            )
            bad = [row for row in bad if row["kind"] != "salad"]  # these are marked for an editor only
            kept = clean([row["text"] for row in bad])
            mended = [one is None or _mended(row, one) for row, one in zip(bad, kept, strict=True)]
            left = clean([row["text"] for row in good])
            changed = [one != row["text"] for row, one in zip(good, left, strict=True)]
            reworded = [one is None or words(one) != words(row["text"]) for row, one in zip(good, left, strict=True)]
            print(
                f"{'first set' if sets == [''] else 'seven later sets'}, {name}: mended {sum(mended)} of {len(bad)},"
                f" of these dropped {kept.count(None)}; good texts changed {sum(changed)} of {len(good)},"
                f" in their words {sum(reworded)}"
            )


def _mended(row: dict[str, str], kept: str) -> bool:
    """As tests/text/test_cleaning.py asks, but quotes made straight are no mend and no fault."""
    said, text, keeps = (one.translate(_STRAIGHT) for one in (kept, row["text"], row.get("keeps", "")))
    junk = row.get("junk", "").translate(_STRAIGHT)
    return said != text and keeps in said and not (junk and said.count(junk) > int(row.get("most", 0)))


def _labelled(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def main() -> None:
    cleaners: dict[str, Clean] = {"ours": ours, **dict(peers())}
    quality(cleaners)
    speed(cleaners, int(sys.argv[1]) if len(sys.argv) > 1 else 2000)


if __name__ == "__main__":
    main()
