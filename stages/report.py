"""One page: what happened to every row, how sure each number is, and whether the model collapsed."""

from cai.artifacts.table import write_text
from cai.params import Section
from cai.reporting.report import build, run_page
from cai.run import Run, run

READS, WRITES = (), ()


class Params(Section):
    """None: the page shows what is there."""


def main(params: Params, run: Run) -> None:
    """Write the page; what the run cost is no result, so it stands beside it and is no out."""
    write_text(run.root / "metrics/report/index.html", build(run.root))
    write_text(run.root / "metrics/report/run.html", run_page(run.work))


if __name__ == "__main__":
    run(main)
