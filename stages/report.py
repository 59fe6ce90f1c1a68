"""One page: what happened to every row, how sure each number is, and whether the model collapsed."""

from cai.artifacts.table import write_text
from cai.params import Section
from cai.reporting.report import build
from cai.run import Run, run

READS, WRITES = (), ()


class Report(Section):
    title: str


class Params(Section):
    report: Report


def main(params: Params, run: Run) -> None:
    """Write the page."""
    write_text(run.root / "metrics/report/index.html", build(run.root))


if __name__ == "__main__":
    run(main)
