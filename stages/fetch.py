"""Raw red-team conversations and instructions, from the one source that params.yaml names."""

from cai.artifacts.raw import RAW_INSTRUCTIONS, RAW_RED_TEAM
from cai.params import Section
from cai.run import Run, run
from cai.sources.source import Fetch, fetch

READS, WRITES = (), (RAW_RED_TEAM, RAW_INSTRUCTIONS)


class Params(Section):
    fetch: Fetch


def main(params: Params, run: Run) -> None:
    """Write both raw tables; n and sha256 of what was read go to metrics/fetch.json."""
    red_team, instructions, sources = fetch(params.fetch, run.root)
    RAW_RED_TEAM.write(red_team, run.root)
    RAW_INSTRUCTIONS.write(instructions, run.root)
    run.metrics({"detail": [sources]})


if __name__ == "__main__":
    run(main)
