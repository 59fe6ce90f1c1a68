"""CPU seconds and peak memory of every gate beyond its imports, on tables of N rows made for the purpose.

    python benchmarks/gates.py [N=10000] [GATE ...]

Texts are put together from tests/text/data/legitimate.jsonl, about 600 characters each, no two alike. N rows stand
in the supervised tables, N / 2 pairs in the preference ones, 1.5 N among the prompts. Each gate runs in a process
of its own; its imports (polars, pandas, Great Expectations) are told apart from what it does. Peak memory is the
kernel's high-water mark of that process.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl

from cai.artifacts.cleaned import ASKED, CLEANED, DROPPED, EDITS
from cai.artifacts.evaluation import ANSWERS, EVALUATION_PROMPTS
from cai.artifacts.instructions import INSTRUCTIONS
from cai.artifacts.preference import EXCLUDED, HUMAN_PAIRS, PREFERENCES, SAMPLES, VERDICTS
from cai.artifacts.prompts import PROMPTS
from cai.artifacts.supervised import CRITIQUES, RESPONSES, REVISIONS
from cai.artifacts.table import ROW_GROUP, Table

ROOT = Path(__file__).parents[1]
CHARS = 600
TABLES = (
    PROMPTS, INSTRUCTIONS, RESPONSES, CRITIQUES, REVISIONS, CLEANED, DROPPED, EDITS, ASKED, SAMPLES, VERDICTS,
    PREFERENCES, EXCLUDED, HUMAN_PAIRS, ANSWERS.of("base"), EVALUATION_PROMPTS,
)  # fmt: skip
ONE = """
import json, re, resource, sys, time
from pathlib import Path
import yaml
from cai.quality.checking import gate
from cai.quality.checking.expectations import great_expectations
used = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
great_expectations()
imports, wall = used(), time.monotonic()
artifact, root = sys.argv[1], Path(sys.argv[2])
block = yaml.safe_load(Path("params.yaml").read_text())["gates"][gate.block_name(artifact)]
result = gate.run_gate(artifact, root, gate.thresholds_type(artifact).model_validate(block), "report")
print(json.dumps({
    "rows": result.n_rows, "failed": [e["column"] for e in result.detail if e["passed"] is False],
    "cpu": used() - imports, "wall": time.monotonic() - wall, "imports": imports,
    # Not ru_maxrss: a process that was started by another one inherits that one's peak.
    "gib": int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text()).group(1)) / 2**20,
}))
"""


def text(name: str, lead: str, seed: int) -> pl.Expr:
    """A column of texts, no two alike: pieces chosen by the row's number."""
    lines = (ROOT / "tests/text/data/legitimate.jsonl").read_text(encoding="utf-8").splitlines()
    read = [json.loads(line) for line in lines]
    pool = sorted({row["text"] for row in read if row["kind"] == "plain" and row["language"] == "en"})
    draw = random.Random(seed)
    made = []
    for _ in range(2000):
        parts = draw.sample(pool, 8)
        made.append(" ".join(parts)[:CHARS].rsplit(" ", 1)[0])
    several = pl.Series(made)
    number = pl.col("n").cast(pl.String)
    chosen = pl.lit(several).gather(pl.col("n").hash(seed=seed) % len(made))
    return (pl.lit(f"{lead} ") + number + ": " + chosen + ". That was number " + number + ".").alias(name)


def tables(n: int) -> dict[str, pl.DataFrame]:
    """All artifacts that tables have gates for."""
    from cai.dialogue import Turn, prompt_id

    size = n + n // 2
    numbers = pl.DataFrame({"n": range(size)})
    user = {"role": "user"}
    base = numbers.with_columns(text("prompt", "Question", 1)).with_columns(
        pl.concat_list(pl.struct(pl.lit(user["role"]).alias("role"), pl.col("prompt").alias("text"))).alias("turns"),
        pl.when(pl.col("n") < n).then(pl.lit("sft_train")).otherwise(pl.lit("pref_train")).alias("split"),
        pl.lit("m").alias("model"),
        pl.lit("s").alias("sampling"),
        pl.lit("stop").alias("finish_reason"),
        pl.lit(10, dtype=pl.Int32).alias("prompt_tokens"),
        pl.lit(150, dtype=pl.Int32).alias("completion_tokens"),
        pl.lit(None, dtype=pl.String).alias("error"),
        pl.lit(1, dtype=pl.Int32).alias("round"),
        (pl.lit("p") + (pl.col("n") % 16).cast(pl.String)).alias("principle_id"),
        pl.lit(False).alias("cut"),
        ("c" + pl.col("n").cast(pl.String)).alias("cluster_id"),
        pl.lit("test").alias("source"),
        pl.lit(1, dtype=pl.Int32).alias("n_turns"),
    )
    base = base.with_columns(
        pl.Series("prompt_id", [prompt_id((Turn("user", said),)) for said in base["prompt"]])
    ).sort("prompt_id")
    supervised = base.filter(pl.col("split") == "sft_train").with_columns(
        text("response", "Answer", 2), text("critique", "Critique", 3), text("revision", "Better", 4)
    )
    for_edit = pl.col("n") % 5 == 0
    kept = supervised.filter(pl.col("n") % 20 != 0)
    raw = supervised.with_columns(
        pl.when(for_edit).then(pl.col("revision") + " Bye now.").otherwise(pl.col("revision")).alias("revision")
    )
    compared = base.filter(pl.col("split") == "pref_train").with_columns(
        text("a", "First draw", 5), text("b", "Second draw", 6), ((pl.col("n").hash(seed=9) % 2) == 0).alias("first")
    )
    better, first = pl.when(pl.col("first")), pl.col("first")
    verdicts = compared.with_columns(
        pl.col("a").alias("response_a"),
        pl.col("b").alias("response_b"),
        better.then(0.7).otherwise(0.3).alias("p_first"),
        better.then(0.8).otherwise(0.2).alias("p_second"),
        better.then(0.75).otherwise(0.25).alias("p"),
        pl.lit(False).alias("flip"),
        pl.lit(0.9).alias("label_mass_first"),
        pl.lit(0.9).alias("label_mass_second"),
        pl.lit("ok").alias("status"),
        pl.lit(None, dtype=pl.String).alias("reason"),
        pl.lit("j").alias("judge"),
        pl.lit(1).alias("n_principles"),
    )
    draws = [
        compared.with_columns(pl.col(name).alias("response"), pl.lit(draw, dtype=pl.Int32).alias("draw"))
        for draw, name in enumerate("ab")
    ]
    answers = supervised.with_columns(
        pl.lit("heldout").alias("set"),
        pl.lit(1, dtype=pl.Int32).alias("turn"),
        pl.lit(None, dtype=pl.String).alias("category"),
        pl.lit(list(range(150)), dtype=pl.List(pl.Int32)).alias("token_ids"),
    )
    made = {
        PROMPTS: base,
        INSTRUCTIONS: supervised.select(
            pl.format("i{}", pl.col("n").cast(pl.String).str.zfill(9)).alias("instruction_id"),
            pl.when(pl.col("n") % 10 == 0).then(pl.lit("test")).otherwise(pl.lit("train")).alias("split"),
            "prompt", "turns", "response",
        ),
        RESPONSES: supervised,
        CRITIQUES: supervised,
        REVISIONS: raw,
        CLEANED: kept,
        DROPPED: raw.filter(pl.col("n") % 20 == 0).with_columns(
            pl.lit("meta talk").alias("reason"), pl.lit("meta").alias("rule")
        ),
        EDITS: kept.filter(for_edit).with_columns(
            pl.lit(0, dtype=pl.Int32).alias("step"),
            pl.lit("closing").alias("rule"),
            pl.col("revision").str.len_chars().cast(pl.Int32).alias("start"),
            (pl.col("revision").str.len_chars() + 9).cast(pl.Int32).alias("end"),
            pl.lit(" Bye now.").alias("removed"),
            pl.lit("").alias("inserted"),
        ),
        ASKED: kept.filter(for_edit).with_columns(
            pl.lit("nothing_to_delete").alias("status"),
            pl.lit(None, dtype=pl.String).alias("reason"),
            pl.lit(1, dtype=pl.Int32).alias("tries"),
        ),
        SAMPLES: pl.concat(draws),
        VERDICTS: verdicts,
        PREFERENCES: verdicts.with_columns(
            pl.when(pl.col("n") % 10 == 0).then(pl.lit("test")).otherwise(pl.lit("train")).alias("split"),
            better.then("a").otherwise("b").alias("chosen"),
            better.then("b").otherwise("a").alias("rejected"),
            pl.lit(0.75).alias("p_chosen"),
            (~first).cast(pl.Int32).alias("chosen_draw"),
            pl.lit(False).alias("chosen_cut"),
            pl.lit(False).alias("rejected_cut"),
        ),
        EXCLUDED: verdicts.head(0),
        HUMAN_PAIRS: verdicts.select(
            pl.format("human/{}", "prompt_id").alias("pair_id"), "prompt", "turns",
            better.then("a").otherwise("b").alias("chosen"), better.then("b").otherwise("a").alias("rejected"),
        ),
        ANSWERS.of("base"): answers,
        EVALUATION_PROMPTS: pl.DataFrame({"n": range(1000)}).with_columns(
            # Its own words: a prompt that is near an evaluation prompt would have been removed.
            pl.concat_str([pl.format(f"task{word}of{{}}", "n") for word in range(60)], separator=" ").alias("said")
        ).select(
            pl.format("e{}", pl.col("n").cast(pl.String).str.zfill(4)).alias("prompt_id"),
            pl.lit("harmbench").alias("set"),
            pl.col("n").cast(pl.String).alias("item_id"),
            pl.lit(None, dtype=pl.String).alias("category"),
            pl.lit(None, dtype=pl.Float64).alias("temperature"),
            pl.concat_list("said").alias("turns_text"),
            pl.lit(None, dtype=pl.List(pl.String)).alias("reference"),
        ),
    }  # fmt: skip
    return {table.name: _shaped(table, frame) for table, frame in made.items()}


def _shaped(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    lost = [pl.lit(None).alias(column.name) for column in table.columns if column.name not in frame.columns]
    whole = frame.with_columns(lost)
    return whole.select(pl.col(name).cast(dtype) for name, dtype in table.schema.items()).sort(table.key)


def write(root: Path, n: int) -> None:
    """The tables, and the card of a valid judge."""
    made = tables(n)
    for table in TABLES:
        path = root / table.path
        path.parent.mkdir(parents=True, exist_ok=True)
        made.pop(table.name).write_parquet(path, compression="zstd", row_group_size=ROW_GROUP)
    (root / "metrics").mkdir(exist_ok=True)
    card = {"detail": [{"roles": {"pairs": {"valid": True, "reasons": []}}}]}
    (root / "metrics/judge_card.json").write_text(json.dumps(card))
    account = {"detail": [{"helpful": {"n_kept": n // 2}}]}
    (root / "metrics/pair.json").write_text(json.dumps(account))


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    asked = sys.argv[2:] or [Path(table.path).stem if table.name == "answers" else table.name for table in TABLES]
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, which gives its memory back: a million rows take more to make than to check.
        making = get_context("spawn").Process(target=write, args=(Path(folder), n))
        making.start()
        making.join()
        if making.exitcode:
            raise SystemExit(making.exitcode)
        measure(Path(folder), asked)


def measure(root: Path, artifacts: list[str]) -> None:
    """One row of a Markdown table for every gate, over the tables that lie under ``root``."""
    print("| gate | rows | CPU s | wall s | imports, CPU s | peak GiB | failed |\n|---|---|---|---|---|---|---|")
    for artifact in artifacts:
        done = subprocess.run(
            [sys.executable, "-c", ONE, artifact, str(root)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        f: dict[str, Any] = json.loads(done.stdout)
        cells = f"{f['rows']:,} | {f['cpu']:.1f} | {f['wall']:.1f} | {f['imports']:.1f} | {f['gib']:.2f}"
        print(f"| {artifact} | {cells} | {' '.join(map(str, f['failed']))} |", flush=True)


if __name__ == "__main__":
    main()
