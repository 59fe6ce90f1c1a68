"""CPU cost of the known cleaners on the rows of benchmarks/clean.py, by an interpreter that has them installed.

    python benchmarks/clean_peers.py ROWS.jsonl

ROWS holds one {"revision": text} a line. Only what is installed is measured; each is called row by row in this process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def peers() -> Iterator[tuple[str, Callable[[str], object]]]:
    """(name, what it does with a text) of every peer that can be imported."""
    try:
        import ftfy
        from datatrove.data import Document
        from datatrove.pipeline.filters import GopherRepetitionFilter

        repeats = GopherRepetitionFilter()
        yield "ftfy.fix_text", ftfy.fix_text
        yield (
            "datatrove repetition filter + ftfy",
            lambda text: repeats.filter(Document(text=ftfy.fix_text(text), id="1")),
        )
    except ImportError as error:
        print(f"datatrove: {error}")
    try:
        from data_juicer.ops.mapper.fix_unicode_mapper import FixUnicodeMapper
        from data_juicer.ops.mapper.remove_repeat_sentences_mapper import RemoveRepeatSentencesMapper
        from data_juicer.ops.mapper.whitespace_normalization_mapper import WhitespaceNormalizationMapper

        made = [FixUnicodeMapper(), WhitespaceNormalizationMapper(), RemoveRepeatSentencesMapper()]

        def edited(text: str) -> object:
            sample = {"text": [text]}
            for one in made:
                sample = one.process_batched(sample)
            return sample

        yield "data-juicer, three editors", edited
    except Exception as error:  # noqa: BLE001  it fails in many ways where a package is missing
        print(f"data-juicer: {type(error).__name__}: {error}")


def main() -> None:
    texts = [json.loads(line)["revision"] for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    before = time.process_time()
    for text in texts:
        json.dumps(json.loads(json.dumps(text)))
    print(f"json: {(time.process_time() - before) / len(texts) * 1e6:.1f} us a row")
    for name, does in peers():
        before = time.process_time()
        for text in texts:
            does(text)
        used = time.process_time() - before
        print(f"{name}: {used / len(texts) * 1e6:.0f} us a row, {len(texts) / used:.0f} rows a CPU second")


if __name__ == "__main__":
    main()
