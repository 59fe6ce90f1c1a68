"""Does cleaning stay flat in memory, and what does a second worker bring?

    python benchmarks/clean_scale.py memory 100000 1000000
    python benchmarks/clean_scale.py workers [N=20000] [TURNS=5]

Memory (Linux): the peak of a process of its own that cleans a file of so many rows (one in a hundred is degenerate;
20,000 different ones, again and again). Workers: one and two take turns on the same file; seconds of the clock say what
the machine had left for them, CPU seconds of all processes bound what two free cores could give.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clean import PLAN, cpu_seconds, rows

from cai.cleaning.files import clean_file

BLOCK = 20_000


def written(path: Path, n: int, bad_share: float) -> Path:
    """A file of n rows, made from at most `BLOCK` different ones."""
    texts = rows(min(n, BLOCK), bad_share)
    block = "".join(json.dumps({"revision": text}) + "\n" for text in texts)
    with path.open("w", encoding="utf-8") as file:
        for _ in range(n // len(texts)):
            file.write(block)
    return path


def memory(sizes: list[int]) -> None:
    """Print the peak of a process that cleans a file, for each size."""
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            source = written(Path(folder) / "in.jsonl", n, 0.01)
            subprocess.run([sys.executable, __file__, "child", str(source)], check=True)


def child(source: Path) -> None:
    """Clean one file next to itself and print what it took."""
    before = cpu_seconds()
    done = clean_file(source, source.with_name("out.jsonl"), plan=PLAN, edits=source.with_name("edits.jsonl"))
    used = cpu_seconds() - before
    # getrusage would count what the parent held when it forked.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    print(
        f"{done.n_rows} rows: peak {status['VmHWM'].strip()}, {used:.0f} CPU seconds, {done.n_edited} edited",
        flush=True,
    )


def workers(n: int, turns: int) -> None:
    """Print medians of the seconds that one and two workers take in turn."""
    with tempfile.TemporaryDirectory() as folder:
        source = written(Path(folder) / "in.jsonl", n, 0.5)
        walls: dict[int, list[float]] = {1: [], 2: []}
        cpus: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(turns):
            for number in (1, 2):
                cpu, wall = cpu_seconds(), time.perf_counter()
                clean_file(source, Path(folder) / "out.jsonl", plan=PLAN, workers=number)
                cpus[number].append(cpu_seconds() - cpu)
                walls[number].append(time.perf_counter() - wall)
    for number in (1, 2):
        print(
            f"{number} workers, {n} rows: median {statistics.median(walls[number]):.1f} s by the clock,"
            f" {statistics.median(cpus[number]):.1f} CPU seconds ({', '.join(f'{used:.1f}' for used in cpus[number])})"
        )
    clock = statistics.median(one / two for one, two in zip(walls[1], walls[2], strict=True))
    free = statistics.median(2 * one / two for one, two in zip(cpus[1], cpus[2], strict=True))
    print(f"two workers: {clock:.2f} times one by the clock, at most {free:.2f} times on two free cores")


def main() -> None:
    what, *values = sys.argv[1:]
    if what == "child":
        child(Path(values[0]))
    elif what == "memory":
        memory([int(value) for value in values])
    else:
        n, turns = (int(value) for value in (*values, *("20000", "5")[len(values) :]))
        workers(n, turns)


if __name__ == "__main__":
    main()
