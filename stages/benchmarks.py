"""The evaluation sets, each with its subset's name, n and sha256."""

import shutil

from cai.artifacts.evaluation import EVALUATION_PROMPTS
from cai.artifacts.table import AtomicFile
from cai.params import Section
from cai.run import Run, run
from cai.sources.benchmarks import Benchmarks, build, mtbench_file

READS, WRITES = (), (EVALUATION_PROMPTS,)
JUDGE_PROMPTS = "data/evaluation/mtbench_judge_prompts.jsonl"


class Params(Section):
    benchmarks: Benchmarks


def main(params: Params, run: Run) -> None:
    """Write the evaluation prompts, and MT-Bench's own judge templates beside them."""
    prompts, sets = build(params.benchmarks, run.root, run.work)
    EVALUATION_PROMPTS.write(prompts, run.root)
    with AtomicFile(run.root / JUDGE_PROMPTS) as temporary:
        shutil.copyfile(mtbench_file(params.benchmarks.mtbench, "judge_prompts.jsonl", run.root, run.work), temporary)
    run.metrics({"detail": [sets]})


if __name__ == "__main__":
    run(main)
