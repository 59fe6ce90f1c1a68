"""`cai ...`: what users type besides dvc. Every command imports what it needs when it runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from cai.artifacts.table import write_text
from cai.errors import ArtifactError, CaiError, ParamsError

START, END = "<!-- results -->", "<!-- /results -->"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


def said(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, with what goes wrong told in one message instead of a traceback."""

    @wraps(command)
    def told(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except CaiError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None

    return told


def project() -> Path:
    """The project's root, from wherever in it the command was typed."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
            return folder
    raise ParamsError(here.name, "not inside the project", expected="a folder with dvc.yaml and params.yaml")


@app.command()
@said
def results(
    markdown: Annotated[bool, typer.Option(help="write the table into README.md between its markers")] = False,
) -> None:
    """The result table, each stage's share of the time, and where the report is."""
    from rich.console import Console

    from cai.reporting import table

    root, console = project(), Console()
    if markdown:
        readme = root / "README.md"
        before, after = (
            readme.read_text(encoding="utf-8").split(START)[0],
            readme.read_text(encoding="utf-8").split(END)[1],
        )
        write_text(readme, f"{before}{START}\n{table.markdown(root)}{END}{after}")
        return
    console.print(table.stage_shares(root / ".work"))
    console.print(table.results(root))
    console.print("report: metrics/report/index.html", highlight=False)


@app.command()
@said
def gates() -> None:
    """Every gate's result in one table; exit 1 if one failed."""
    from rich.console import Console

    from cai.reporting.table import gates_table

    root = project()
    Console().print(gates_table(root))
    if any(json.loads(file.read_text()).get("n_failed") for file in (root / "metrics" / "gates").glob("*.json")):
        raise typer.Exit(1)


@app.command()
@said
def degeneration(
    file: Annotated[Path, typer.Argument(help="JSONL (or JSON, CSV, Parquet), one answer a row")],
    text_key: Annotated[str, typer.Option(help="the key that holds the text")] = "text",
) -> None:
    """The collapse measures of any file of answers, as one flat JSON object."""
    from cai.scoring.degeneration import degeneration_report
    from cai.sources.files import read_rows

    rows = read_rows(file)
    try:
        found = degeneration_report(rows, text_key=text_key)
    except (KeyError, TypeError) as error:
        raise ArtifactError(str(file), str(error.args[0]), next_step="name the key with --text-key") from None
    if found["n"] != len(rows):
        typer.echo(f"{len(rows) - int(found['n'] or 0)} of {len(rows)} rows have null instead of a text", err=True)
    typer.echo(json.dumps(found, indent=2))


@app.command()
@said
def show(
    prompt_id: Annotated[
        str, typer.Argument(help="a prompt_id, or as many of its first digits as name one row; or `edits`")
    ],
    rule: Annotated[str | None, typer.Option(help="with `edits`: rows that this rule touched")] = None,
    limit: Annotated[int, typer.Option(min=1, help="with `edits`: at most so many rows")] = 20,
) -> None:
    """One row through all stages, or cleaned rows before and after. Prints the texts: they are harmful by purpose."""
    from rich.console import Console

    if prompt_id == "edits":
        from cai.reporting.edits import before_and_after

        Console().print(before_and_after(project(), rule, limit))
        return
    from cai.reporting.row import row_through_stages

    Console().print(row_through_stages(project(), prompt_id))


def _variants() -> dict[str, Any]:
    """The variants of the project's params.yaml; outside a project of ours those that this command came with."""
    from cai.params import read_yaml

    ours = Path(__file__).parents[1] / "params.yaml"
    try:
        params = project() / "params.yaml"
    except ParamsError:
        params = ours
    content = read_yaml(params)
    if "clean" not in content:  # DVC has other projects too
        content = read_yaml(ours)
    section = content["clean"]
    variants = section.get("variants") if isinstance(section, dict) else None
    if not isinstance(variants, dict):
        raise ParamsError("params.yaml: clean.variants", "no variants", got=variants, expected="name: [rule, ...]")
    return variants


@app.command()
@said
def clean(
    source: Annotated[Path, typer.Argument(metavar="IN", help="JSONL (also .gz) or Parquet; - for stdin")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="the same; - for stdout; all rows or none")],
    text_key: Annotated[str, typer.Option(help="the key that holds the text")] = "revision",
    prompt_key: Annotated[str, typer.Option(help="the key that holds the prompt; need not be there")] = "prompt",
    variant: Annotated[
        str, typer.Option(help="a variant of params.yaml, or of the default one outside a project")
    ] = "rules",
    edits: Annotated[Path | None, typer.Option(help="write every edit to this JSONL")] = None,
    dropped: Annotated[Path | None, typer.Option(help="write every dropped row to this JSONL")] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = 1,
) -> None:
    """Clean a file with the stage's own function: same texts, same edits, same drops."""
    from rich.console import Console

    from cai.cleaning.files import Bar, clean_file
    from cai.cleaning.plan import plan

    variants = _variants()
    if variant not in variants:
        raise ParamsError("--variant", "not in params.yaml", got=variant, expected=", ".join(map(str, variants)))
    try:
        chosen = plan(variant, variants)
    except ParamsError as error:
        raise ParamsError("params.yaml", str(error)) from None
    summary = clean_file(
        source,
        target,
        plan=chosen,
        text_key=text_key,
        prompt_key=prompt_key,
        edits=edits,
        dropped=dropped,
        workers=workers,
        progress=Bar("clean"),
    )
    Console(stderr=True).print(summary.table())


@app.command()
@said
def compare(
    a: Annotated[str, typer.Argument(help="a Git revision or experiment; several seeds: x,y,z")],
    b: Annotated[str, typer.Argument(help="another one; `workspace` for the files as they are")] = "workspace",
    page: Annotated[Path | None, typer.Option(help="where the page goes; default metrics/report/compare.html")] = None,
) -> None:
    """Paired differences between two commits or experiments, from the outcomes in Git, as a table and a page."""
    from rich.console import Console

    from cai.reporting import comparison

    root = project()
    found = comparison.compared(root, a, b)
    Console().print(comparison.comparison(found))
    target = page or root / "metrics/report/compare.html"
    write_text(target, comparison.page(found))
    typer.echo(f"page: {target if page else target.relative_to(root)}")


@app.command()
@said
def seeds(
    revisions: Annotated[list[str], typer.Argument(help="Git revisions or experiments: this run under other seeds")],
) -> None:
    """Put the outcomes of other seeds' runs beside this one's, where the report and `cai results` pool them."""
    from cai.reporting.seeds import FOLDER, keep

    found = keep(project(), revisions)
    typer.echo(f"{FOLDER}: seeds {', '.join(map(str, found))}; commit it, then: dvc repro report")


@app.command("judge-card")
@said
def judge_card(
    hhh: Annotated[Path | None, typer.Option(help="HHH comparison items (JSON lines: prompt, corrects)")] = None,
    hh: Annotated[Path | None, typer.Option(help="HH-RLHF rows (JSON lines, .gz allowed: chosen, rejected)")] = None,
    human: Annotated[int | None, typer.Option(min=0, help="human-labelled rows a role; 0: none")] = None,
) -> None:
    """How far the judge of params.yaml can be trusted, on labelled data; exit 1 where it is not valid.

    The shipped pairs and the files named here are asked in both orders, PyRIT's rows as harm and refusal judge.
    Nothing is written but what the work directory keeps; the stage judge_card writes the card that the report shows.
    """
    from rich.console import Console

    from cai.reporting.judge import card_table
    from cai.run import Run, load, work_folder
    from stages.judge_card import Params, card

    root = project()
    params, servers, budget = load(Params, root, work_folder(root))
    found: dict[str, Any] = params.judge_card.model_dump() | {
        name: str(path.resolve()) for name, path in (("hhh", hhh), ("hh", hh)) if path is not None
    }
    if human is not None:
        found["human"]["n"] = human or None
        if not human:
            found["human"] |= {"harm": [], "refusal": []}
    params = Params.model_validate(params.model_dump() | {"judge_card": found})
    made = card(params, Run("judge_card", None, root, servers, budget.usd))
    console = Console()
    console.print(card_table(made))
    for role, standing in made.roles.items():
        said_of = "valid" if standing.valid else "not valid: " + "; ".join(standing.reasons)
        console.print(f"{role}: {said_of}", highlight=False)
    if not made.valid:
        raise typer.Exit(1)


@app.command()
@said
def mtbench(
    file: Annotated[Path, typer.Argument(help="a judgment file of FastChat: model_judgment/JUDGE_single.jsonl")],
) -> None:
    """A FastChat judgment file: show_result's numbers, ours with intervals and bounds, and what is no rating."""
    from rich.console import Console
    from rich.table import Table

    from cai.reporting.number import number, shown
    from cai.scoring.mtbench import QUESTIONS, import_judgments, measures

    found = import_judgments(file, QUESTIONS)
    table = Table("model", "FastChat's show_result", "mean of both turns [95 %]", "if failed ones were 1 to 10")
    for model, numbers in found.legacy.items():
        told = [
            f"{label} {numbers[name]:.2f} (n = {numbers[f'n_{name}']:.0f})"
            for name, label in (("turn_1", "turn 1"), ("turn_2", "turn 2"), ("mean", "mean"))
            if name in numbers
        ]
        own = {name: one.as_dict() for name, one in measures(found.judgments.get(model, ())).items()}
        bounds = [own[f"mean_if_failed_{bound}"]["value"] for bound in (1, 10)]
        between = "" if None in bounds else " to ".join(number(bound, "rating") for bound in bounds)
        rated = "\n".join(
            f"{label} {shown(own[name]).line()}"
            for name, label in (("turn_1", "turn 1"), ("turn_2", "turn 2"), ("mean", "mean"))
        )
        table.add_row(model, "\n".join(told), rated, between)
    Console().print(table)
    typer.echo(f"sha256 {found.sha256}; " + ", ".join(f"{name} {n}" for name, n in sorted(found.counts.items())))
    for fault, rows in found.named.items():
        more = found.counts[fault] - len(rows)
        typer.echo(f"{fault}: {', '.join(rows)}{f' and {more} more' if more else ''}")


@app.command()
@said
def figures(
    folder: Annotated[Path, typer.Argument(help="where one SVG and one PNG a figure go")],
) -> None:
    """The report's figures as files, for documents."""
    from cai.reporting.figures import png
    from cai.reporting.report import drawings

    drawn = drawings(project())
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in drawn.items():
        write_text(folder / f"{name}.svg", svg)
        (folder / f"{name}.png").write_bytes(png(svg))
    typer.echo(f"{len(drawn)} figures")


@app.command()
@said
def use(
    name: Annotated[str, typer.Argument(help="a recipe in cai/recipes")],
    values: Annotated[list[str] | None, typer.Option("-S", help="a.b=value, over the recipe; may be repeated")] = None,
) -> None:
    """Apply a recipe to params.yaml and print what changed."""
    from cai.recipes.apply import apply

    for line in apply(name, project() / "params.yaml", values or ()):
        typer.echo(line)


@app.command()
@said
def plan(
    everything: Annotated[bool, typer.Option("--all", help="every stage, not only what is pending")] = False,
) -> None:
    """Calls, tokens, cost, time, memory and disk of the pending run, before it is spent; exit 1 if it cannot fit."""
    from rich.console import Console

    from cai import planning
    from cai.params import check, read_yaml
    from cai.run import sections

    root = project()
    params = read_yaml(root / "params.yaml")
    check(params, sections(), "params.yaml")
    stages = planning.all_stages(root) if everything else planning.pending(root)
    found = planning.plan(params, root, stages, planning.this_machine(root / ".work"))
    console = Console()
    if not found.steps:
        console.print("nothing is pending that runs a model")
        return
    console.print(planning.table(found))
    console.print("fits this machine" if not found.obstacles else "does not fit: " + "; ".join(found.obstacles))
    if found.obstacles:
        raise typer.Exit(1)


@app.command()
@said
def doctor() -> None:
    """What this machine lacks for params.yaml as it stands, and the command that mends it; exit 1 if anything."""
    from cai.doctor import examine
    from cai.params import check, read_yaml
    from cai.run import sections

    root = project()
    params = read_yaml(root / "params.yaml")
    check(params, sections(), "params.yaml")
    findings = examine(params, root)
    for one in findings:
        typer.echo(f"{'ok     ' if one.well else 'LACKING'} {one.what}: {one.fact}")
        if one.command:
            typer.echo(f"        mend: {one.command}")
    if not all(one.well for one in findings):
        raise typer.Exit(1)


@app.command()
@said
def chat(
    models: Annotated[list[str] | None, typer.Argument(help="checkpoints; default: instruct sft dpo")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="longest reply")] = 256,
    seed: Annotated[int, typer.Option(help="another one gives other replies to the same words")] = 0,
) -> None:
    """Talk to instruct, sft and dpo side by side, decoded as `answer` says. /new starts again, /quit or ctrl-D ends."""
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    from cai.chat import Chat, Talking
    from cai.run import load, work_folder
    from stages.answer import Params

    root = project()
    params, servers, budget = load(Params, root, work_folder(root))
    run, asked = Talking("chat", None, root, servers, budget.usd), params.answer
    opened = {
        name: run.open_model(asked.model_copy(update={"model": asked.model.replace("{model}", name)}))
        for name in dict.fromkeys(models or ("instruct", "sft", "dpo"))
    }
    sampling = asked.model_copy(update={"max_new_tokens": max_new_tokens}).sampling(seed)
    talk, console = Chat(opened, sampling), Console()
    while True:
        try:
            words = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            break
        if words == "/quit":
            break
        if words == "/new":
            talk.start_again()
        elif words:
            for name, reply in talk.hear(words).items():
                told = Text(f"no reply: {reply.error}" if reply.text is None else reply.text)
                console.print(Panel(told, title=name, subtitle="cut" if reply.finish_reason == "length" else None))
    typer.echo()


cache = typer.Typer(no_args_is_help=True, help="Completions of servers that were paid for, kept in .work.")
app.add_typer(cache, name="cache")


@cache.command("stats")
@said
def cache_stats() -> None:
    """How many completions are kept, of which models, and how many bytes, as JSON."""
    typer.echo(json.dumps(_store().stats(), indent=2))


@cache.command("export")
@said
def cache_export(
    target: Annotated[Path, typer.Argument(help="a file for JSON lines; they hold texts that may be harmful")],
) -> None:
    """Write every kept completion to a file, one JSON object a line."""
    lines = list(_store().export())
    write_text(target, "".join(f"{line}\n" for line in lines))
    typer.echo(f"{len(lines)} completions")


@cache.command("prune")
@said
def cache_prune(
    model: Annotated[str | None, typer.Option(help="only this model's; the default is all")] = None,
    older_than_days: Annotated[float, typer.Option(min=0.0, help="only those at least so old")] = 0.0,
) -> None:
    """Remove kept completions; what is asked again is paid again."""
    n_removed = _store().prune(model=model, older_than_seconds=older_than_days * 86_400)
    typer.echo(f"{n_removed} completions removed")


def _store() -> Any:
    from cai.llm.cache import CompletionStore

    return CompletionStore(project() / ".work" / "completions")


if __name__ == "__main__":
    app()
