"""The one page: what happened to every row, how sure each number is, and whether the model collapsed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from cai.artifacts.evaluation import ANSWERS
from cai.artifacts.preference import SAMPLES
from cai.artifacts.supervised import CRITIQUES, RESPONSES, REVISIONS
from cai.errors import ArtifactError
from cai.reporting import figures, gates, paper
from cai.reporting.changes import changes
from cai.reporting.edits import cleaning
from cai.reporting.evaluation import Evaluation, evaluations, judge, not_measurable, trusted
from cai.reporting.flow import evaluation_sets, flow, subset_names, subsets
from cai.reporting.inputs import HELDOUT, MODELS, Inputs, laid_open
from cai.reporting.number import number, plain, points, shown
from cai.reporting.questions import AFTER, BEFORE, Change, four
from cai.reporting.seeds import rows as seed_rows
from cai.reporting.seeds import seeds
from cai.reporting.texts import TextKind, examples, generation_manifest, text_kinds

MAX_BYTES = 3_000_000
FEW_ROWS = 1_000
SMALL_MODEL = "SmolLM2-135M"
HORIZON_WORDS = {
    "first_64_tokens": "first 64 tokens",
    "first_128_tokens": "first 128 tokens",
    "first_256_tokens": "first 256 tokens",
    "first_512_tokens": "first 512 tokens",
    "whole": "whole answer",
}
# What the cleaning rules look at, and what no rule ever looks at: a cure that only pleases its own measure shows here.
DEGENERATION = (
    ("degenerate_share", "degenerate (any of the four below)", True),
    ("tail_dup_share", "repeated closing sentences", True),
    ("rep4_share", "half of all 4-grams repeated", True),
    ("tail_loop_share", "exact loop at the end", True),
    ("emoji_tail_share", "emoji tail", True),
    ("repeated_sentence_share", "a sentence three times or more", True),
    ("meta_talk_share", "talks about “the response”", True),
    ("eos_fail_share", "never stops", True),
    ("empty_share", "empty", True),
    ("closing_share", "most common last sentence", True),
    ("mean_words", "mean words", True),
    ("seq_rep_4_tokens", "repeated 4-grams of tokens, mean", False),
    ("compression_ratio", "compression ratio, all texts together", False),
    ("shared_5gram_share", "shares a 5-gram with ten prompts or more", False),
)
FIGURE_2 = (
    ("loss", "loss", figures.INK),
    ("grad_norm", "gradient norm, before clipping", figures.INK),
    ("reward_accuracy", "reward accuracy", figures.INK),
    ("logp_chosen", "log-probability of chosen", figures.CHOSEN),
    ("logp_rejected", "log-probability of rejected", figures.REJECTED),
)


def build(root: Path) -> str:
    """The page as one HTML text: the same inputs give the same bytes; no time, host or cost is in it.

    Raises:
        ArtifactError: an input is broken, or the page would pass 3 MB.
    """
    inputs = Inputs(root)
    found = gates.gates(inputs)
    scored, card = evaluations(inputs), judge(inputs)
    pool = seeds(inputs, scored)
    headline, changed = (scored, changes(scored)) if pool is None else (pool.evaluations(scored), pool.changes)
    names = subset_names(inputs)
    kinds = text_kinds(inputs)
    shown_examples, counts = examples(inputs)
    style, script = _resource("report.css"), _resource("report.js")
    page = (
        _environment()
        .get_template("report.html")
        .render(
            style=style,
            script=script,
            script_hash=_csp_hash(script),
            card=card,
            scored_models=list(scored),
            limits=_limits(inputs),
            marks=gates.marks(found),
            marked_artifacts=gates.marked_artifacts(found),
            gates=found,
            questions=four(headline, card, changed, names),
            seeds=pool,
            seed_rows=[] if pool is None else seed_rows(pool),
            flow=flow(inputs),
            table_1=_paper_rows(paper.TABLE_1, headline, changed, "mtbench"),
            table_2=_paper_rows(paper.TABLE_2, headline, changed, "redteam"),
            judge_stops={role: not_measurable(card, role) for role in ("pairs", "harm") if not trusted(card, role)},
            sets=subsets(inputs),
            subsets=names,
            dpo_curves=_curves(inputs, "dpo", FIGURE_2),
            sft_curves=[
                (model, _curves(inputs, model, (("loss", f"{model}: loss", figures.COLOURS[model]),)))
                for model in ("instruct", "sft")
            ],
            guards=_guards(inputs),
            training=_training(inputs),
            collapse_figures=_collapse_figures(scored, kinds),
            kinds=kinds,
            degeneration=(taught := _degeneration(scored, kinds)),
            horizons=(cut := _horizons(scored)),
            by_set=(apart := _sets_degeneration(scored)),
            could_show={
                "degeneration": could_show(cell for row in taught for cell in row["cells"][len(kinds) :]),
                "horizons": could_show(cell for row in cut for cell in row["cells"]),
                "by_set": could_show(cell for row in apart for cell in row["cells"]),
                "card": could_show(card.measures.values())
                .replace("two models", "two judges")
                .replace("prompts", "items"),
            },
            judged=_judged(scored),
            cross=_cross_tables(scored),
            cleaning=cleaning(inputs),
            variant=laid_open(inputs.json("metrics/clean.json", "clean") or {}).get("variant"),
            examples=shown_examples,
            example_counts=counts,
            manifests=_manifests(inputs),
            generation=generation_manifest(
                inputs, (RESPONSES, CRITIQUES, REVISIONS, SAMPLES, *map(ANSWERS.of, MODELS))
            ),
            missing=inputs.missing,
            before=BEFORE,
            after=AFTER,
        )
    )
    n_bytes = len(page.encode())
    if n_bytes > MAX_BYTES:
        raise ArtifactError(
            "metrics/report/index.html", "the page is too large", got=f"{n_bytes:,} bytes", expected="< 3 MB"
        )
    return page


def drawings(root: Path) -> dict[str, str]:
    """{name: SVG} of every figure of the report, for documents outside of it."""
    inputs = Inputs(root)
    scored, kinds = evaluations(inputs), text_kinds(inputs)
    found = {f"figure-2-{measure}": svg for measure, svg in _curves(inputs, "dpo", FIGURE_2)}
    for model in ("instruct", "sft"):
        found |= {f"{model}-{measure}": svg for measure, svg in _curves(inputs, model, (("loss", model, figures.INK),))}
    return found | {f"collapse-{name}": svg for name, svg, _ in _collapse_figures(scored, kinds)}


def run_page(work: Path) -> str:
    """What the last run of every stage cost: seconds and share. No result is on this page.

    Raises:
        ArtifactError: a record is not JSON.
    """
    from cai.reporting.table import run_records

    records = run_records(work)
    total = sum(record["seconds"] for record in records)
    return rendered("run.html", records=records, total=total)


def rendered(template: str, **content: Any) -> str:
    """A page without a script out of a template of this package, escaped, in the report's style."""
    text: str = _environment().get_template(template).render(style=_resource("report.css"), **content)
    return text


def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"shown": shown, "plain": plain, "points": points, "number": number, "words": _words}
    environment.filters["groupby_words"] = _by_words
    return environment


def _resource(name: str) -> Any:
    """A file of this package that goes into the page as it is: ours, never a model's."""
    from markupsafe import Markup

    return Markup((Path(__file__).parent / name).read_text(encoding="utf-8"))


def _csp_hash(script: str) -> str:
    """The one script that a browser may run on the page: a second line behind escaping."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _by_words(models: Iterable[str], marks: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """(words, the models that they are said of), in the order of the models."""
    found: dict[str, list[str]] = {}
    for model in models:
        found.setdefault(marks[model], []).append(model)
    return list(found.items())


def _words(name: str) -> str:
    return name.replace("_", " ")


# --- what this run cannot show ----------------------------------------------------------------------------------------


def _limits(inputs: Inputs) -> list[str]:
    """Why this run proves plumbing and nothing else; empty for a run of some size."""
    said = []
    reference = inputs.json("data/models/base/reference.json", "model") or {}
    name = " ".join(str(reference.get(key, "")) for key in ("id", "package", "member", "path"))
    if SMALL_MODEL.lower() in name.lower():
        said.append(
            "135 million parameters in 4 bits follow neither a critique nor a principle reliably: nothing here says "
            "what the method does to a capable model."
        )
    rows = {
        model: summary["n_rows"]
        for model in ("sft", "dpo")
        if "n_rows" in (summary := laid_open(inputs.json(f"metrics/training_{model}.json", model) or {}))
    }
    if rows and max(rows.values()) < FEW_ROWS:
        told = " and ".join(f"{n:,} {'revisions' if model == 'sft' else 'pairs'}" for model, n in rows.items())
        said.append(
            f"{told[0].upper() + told[1:]} to train on are too few to tell an effect from the luck of one draw."
        )
    sets = evaluation_sets(inputs)
    if sets and max(sets.values()) < 200:
        from cai.scoring.statistics import detectable_unpaired

        most = max(sets.values())
        least = detectable_unpaired(most, 0.5)
        if least is not None:
            said.append(
                f"The largest evaluation set, {most} prompts, shows a change from 50 % only of "
                f"{100 * least:.0f} points or more."
            )
    return said


# --- numbers beside the paper's ---------------------------------------------------------------------------------------


def _paper_rows(
    rows: Sequence[paper.PaperRow], scored: Mapping[str, Evaluation], changed: Mapping[str, Change], group: str
) -> list[dict[str, Any]]:
    """One row of the paper a benchmark of ours: its label, the paper's numbers, our models' measures, our change."""
    found = []
    for row in rows:
        names = dict.fromkeys(name for one in scored.values() for name in one.of(group, row.leaf))
        for name in names or {group: None}:
            ours = [
                (model, scored[model].of(group, row.leaf).get(name) if model in scored else None) for model in MODELS
            ]
            path = f"{group}.{row.leaf}" if name == group else f"{group}.{name}.{row.leaf}"
            found.append({"paper": row, "set": name, "ours": ours, "change": changed.get(path)})
    return found


JUDGED = {
    "turn_1": "rating, turn 1",
    "turn_2": "rating, turn 2",
    "mean": "rating, mean of both turns",
    "turn_1_expected": "expected rating under the judge's probabilities, turn 1",
    "turn_2_expected": "expected rating, turn 2",
    "mean_expected": "expected rating, mean of both turns",
    "legacy_turn_1": "FastChat's show_result, turn 1",
    "legacy_turn_2": "FastChat's show_result, turn 2",
    "legacy_mean": "FastChat's show_result, average of all judgments",
    "attack_success_share": "attack success: score 5",
    "attack_success_4_share": "score 4 or 5",
    "harm_score": "harm score, mean",
    "attack_success_among_whole_share": "attack success among answers that are not degenerate",
    "attack_success_corrected_share": "attack success corrected for the judge's errors: a sensitivity analysis",
}


def _judged(scored: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """Everything that a valid judge gave, a set at a time: bounds, both arithmetics, what became of its judgments."""
    found = []
    paths = dict.fromkeys(path for one in scored.values() for path in one.content if _is_judged(one.content[path]))
    for path in sorted(paths):
        parts = [one.content.get(path) or {} for one in scored.values()]
        leaves = dict.fromkeys(leaf for part in parts for leaf in part.get("measures", {}))
        rows = [
            (JUDGED.get(leaf, _bound(leaf)), [part.get("measures", {}).get(leaf) for part in parts]) for leaf in leaves
        ]
        found.append(
            {
                "set": path.split(".")[-1],
                "rows": [(label, cells) for label, cells in rows if any(c and c["value"] is not None for c in cells)],
                "could_show": could_show(cell for _, cells in rows for cell in cells),
                "fates": [_fates(part.get("judgments") or {}) for part in parts],
            }
        )
    return found


def _is_judged(content: Any) -> bool:
    return isinstance(content, Mapping) and content.get("judge_valid") is True


def _bound(leaf: str) -> str:
    """What a measure without words of its own is: a bound, or its name.

    >>> _bound("mean_if_failed_10"), _bound("attack_success_if_failed_harmful_share"), _bound("full_refusal_share")
    ('mean, if failed ones were 10', 'attack success, if failed ones were harmful', 'full refusal')
    """
    return _words(leaf.removesuffix("_share").replace("_if_failed_", ", if failed ones were ")).replace(" ,", ",")


def _fates(counts: Mapping[str, int]) -> str:
    """In words, as "12 judgments: 11 ok, 1 parse fail; 2 retries"."""
    told = ", ".join(f"{n:,} {_words(fate)}" for fate, n in counts.items() if fate not in ("n", "n_retries"))
    return f"{counts.get('n', 0):,} judgments: {told or 'none'}; {counts.get('n_retries', 0):,} retries"


def _cross_tables(scored: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """Kinds of red-team answers by model and set; with attack success where the judge is valid; keywords beside."""
    found = []
    for model, one in scored.items():
        for path, content in one.content.items():
            if not path.startswith("redteam.") or "kinds" not in content:
                continue
            rows = content.get("success_by_kind") or {kind: {"answers": n} for kind, n in content["kinds"].items()}
            found.append(
                {
                    "model": model,
                    "set": path.removeprefix("redteam."),
                    "rows": rows,
                    "keywords": content.get("keyword_diagnostic"),
                }
            )
    return found


# --- collapse ---------------------------------------------------------------------------------------------------------


def _degeneration(scored: Mapping[str, Evaluation], kinds: Sequence[TextKind]) -> list[dict[str, Any]]:
    """One row a measure; columns are the kinds of text and then the models' whole answers to held-out prompts."""
    rows = []
    for leaf, label, seen in DEGENERATION:
        cells = [kind.measures.get(leaf) for kind in kinds]
        for one in scored.values():
            whole = one.of("degeneration", leaf) or one.of("degeneration", leaf, "horizons.whole.all")
            cells.append(whole.get(HELDOUT))
        if any(cell is not None for cell in cells):
            rows.append({"label": label, "leaf": leaf, "ruled": seen, "cells": cells})
    return rows


def _sets_degeneration(scored: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """Degenerate shares of every model on every set of prompts."""
    names = dict.fromkeys(name for one in scored.values() for name in one.sets)
    return [
        {"set": name, "cells": [one.of("degeneration", "degenerate_share").get(name) for one in scored.values()]}
        for name in names
    ]


def _horizons(scored: Mapping[str, Evaluation]) -> list[dict[str, Any]]:
    """Degenerate shares of every model on held-out prompts at every horizon, and split by how the answer ended."""
    rows = []
    for horizon, words in HORIZON_WORDS.items():
        for part, of in (("all", "all"), ("stop", "ended by themselves"), ("length", "cut at the budget")):
            cells = [
                one.of("degeneration", "degenerate_share", f"horizons.{horizon}.{part}").get(HELDOUT)
                for one in scored.values()
            ]
            known = [cell for cell in cells if cell is not None]
            if any(cell["value"] is not None for cell in known):
                rows.append({"horizon": words, "part": of, "cells": cells, "reason": None})
            elif known and part == "all":
                rows.append({"horizon": words, "part": of, "cells": cells, "reason": known[0].get("reason")})
    return rows


def _collapse_figures(scored: Mapping[str, Evaluation], kinds: Sequence[TextKind]) -> list[tuple[str, str, str]]:
    """(name, SVG, caption): degenerate shares of the texts that were trained on, and of the answers by model."""
    answers = [
        dict[str, Any](label=model, group=model, **ends)
        for model, one in scored.items()
        if (ends := _ends(one.of("degeneration", "degenerate_share").get(HELDOUT)))
    ]
    texts = [
        dict[str, Any](label=kind.name, group="texts", **ends)
        for kind in kinds
        if (ends := _ends(kind.measures["degenerate_share"]))
    ]
    found = []
    for name, rows, caption in (
        (
            "texts",
            texts,
            "What the models were taught: share of degenerate texts, whole text, before and after cleaning",
        ),
        ("answers", answers, "What the models say: share of degenerate answers to held-out prompts, whole answer"),
    ):
        if rows:
            told = "; ".join(f"{row['label']} {number(row['value'])} (n {row['n']})" for row in rows)
            found.append((name, figures.intervals(rows, name=f"collapse-{name}", title=f"{caption}: {told}"), caption))
    return found


def could_show(cells: Iterable[Mapping[str, Any] | None], who: str = "models", what: str = "prompts") -> str:
    """What a table's numbers could show at all, between two of ``who`` on the same ``what``, by n.

    Shares assume that 30 % of answers differ; scores state what their own measure says (``detectable``).

    >>> cells = [{"value": 0.1, "n": 32, "unit": "share"}, {"value": 0.2, "n": 6, "unit": "share"}]
    >>> could_show(cells).rpartition(": ")[2]
    'n 6 none; n 32 26.1 points.'
    >>> could_show([{"value": 6.0, "n": 80, "unit": "rating 1-10", "detectable": 0.8113}]).rpartition(": ")[2]
    'rating 1-10, n 80 0.81.'
    """
    from cai.scoring.statistics import detectable_paired

    known = [c for c in cells if c and c.get("value") is not None]
    sizes = sorted({c["n"] for c in known if c.get("unit", "share") == "share"})
    told = []
    for n in sizes if len(sizes) < 6 else (sizes[0], sizes[-1]):
        least = detectable_paired(n, 0.30)
        told.append(f"n {n:,} {'none' if least is None else points(least).lstrip('+')}")
    scores = {(c["unit"], c["n"]): c["detectable"] for c in known if c.get("unit") != "share" and c.get("detectable")}
    told += [f"{unit}, n {n:,} {points(least, unit).lstrip('+')}" for (unit, n), least in sorted(scores.items())]
    if not told:
        return ""
    return (
        f"Smallest change between two {who} that could be seen (same {what}, 80 % power, 30 % of answers differing): "
        f"{'; '.join(told)}."
    )


def _ends(measure: Mapping[str, Any] | None) -> dict[str, float]:
    if measure is None or measure.get("value") is None or not measure.get("interval"):
        return {}
    low, high = measure["interval"]
    return {"value": measure["value"], "low": low, "high": high, "n": measure["n"]}


# --- training ---------------------------------------------------------------------------------------------------------


def _curves(inputs: Inputs, model: str, panels: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """(measure, SVG) of every panel that was logged, with the held-out curve where there is one."""
    frame = curve_frame(inputs, model)
    if frame is None:
        return []
    rows = frame.to_dicts()
    apart = curve_frame(inputs, model, "eval")
    held_out = [] if apart is None else apart.to_dicts()
    found = []
    for measure, heading, colour in panels:
        told = [
            f"{where} from {values[0]:.4g} to {values[-1]:.4g} over {len(values)} points"
            for where, logged in (("in training", rows), ("held out", held_out))
            if (values := [row[measure] for row in logged if row.get(measure) is not None])
        ]
        if not any(row.get(measure) is not None for row in rows):
            continue
        name, title = f"{model}-{measure}", f"{model}, {heading}: {'; '.join(told)}"
        svg = figures.curve(rows, measure, heading, colour, name=name, title=title, held_out=held_out)
        found.append((measure, svg))
    return found


def _guards(inputs: Inputs) -> list[tuple[str, list[tuple[str, str]]]]:
    """(model, panels) of every collapse guard that looked: shares of its own few held-out answers, by step."""
    found = []
    for model in MODELS[1:]:
        frame = curve_frame(inputs, model, "guard")
        if frame is None:
            continue
        rows = frame.to_dicts()
        panels = []
        for measure in (name for name in frame.columns if name != "step"):
            values = [row[measure] for row in rows if row.get(measure) is not None]
            if not values:
                continue
            heading, name = f"{model}: {_words(measure)}", f"{model}-guard-{measure}"
            title = f"{heading}: from {values[0]:.4g} to {values[-1]:.4g} over {len(values)} looks"
            svg = figures.curve([], measure, heading, figures.COLOURS[model], name=name, title=title, held_out=rows)
            panels.append((measure, svg))
        found.append((model, panels))
    return found


def curve_frame(inputs: Inputs, model: str, split: str = "train") -> pl.DataFrame | None:
    """One curve of one model as numbers, a row a step, or None where there is none.

    ``split``: train, eval (rows that are not trained on) or guard. Only a missing train curve is a fact to report:
    the others are taken where params.yaml asks for them.
    """
    path = f"metrics/curves/{model}/{split}.csv"
    if split != "train" and not (inputs.root / path).is_file():
        return None
    frame = inputs.csv(path, model)
    if frame is None:
        return None
    return frame.with_columns(pl.all().cast(pl.Float64, strict=False)).with_columns(pl.col("step").cast(pl.Int64))


def _training(inputs: Inputs) -> list[tuple[str, list[tuple[str, str]]]]:
    """(model, facts) of every training run."""
    found = []
    for model in ("instruct", "sft", "dpo"):
        content = inputs.json(f"metrics/training_{model}.json", model)
        if content is None:
            continue
        summary = laid_open(content)
        dropped = summary.pop("dropped", None) or {}
        facts = [(name, value) for name, value in flat(summary) if name not in ("name", "adapter sha256")]
        facts.append(("rows left out", ", ".join(f"{reason} {n}" for reason, n in sorted(dropped.items())) or "none"))
        found.append((model, facts))
    return found


# --- manifests --------------------------------------------------------------------------------------------------------


def _manifests(inputs: Inputs) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, facts): data with n and sha256, evaluation sets, base weights, adapters, and what ends an answer."""
    found = []
    for heading, path, stage in (
        ("Data read", "metrics/fetch.json", "fetch"),
        ("Evaluation sets read", "metrics/benchmarks.json", "benchmarks"),
        ("Base weights", "data/models/base/reference.json", "model"),
    ):
        content = inputs.json(path, stage)
        if content is not None:
            found.append((heading, flat(laid_open(content))))
    for model in MODELS[1:]:
        chain = inputs.json(f"data/models/{model}/chain.json", model)
        if chain is not None:
            adapters = [(str(one.get("name")), str(one.get("sha256"))) for one in chain.get("adapters", ())]
            found.append(
                (f"Model {model}: adapters below it, bottom first", adapters or [("none", "on the base itself")])
            )
    for model in MODELS:
        scored = laid_open(inputs.json(f"metrics/eval/{model}.detail.json", f"score@{model}") or {})
        if "decoding" in scored:
            found.append((f"Answers of {model}: how they were drawn, and what ends one", _decoding(scored["decoding"])))
    return found


def _decoding(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [(_words(name), plain(value)) for name, value in content.items() if name != "stop_tokens"]
    ends = content.get("stop_tokens")
    told = ", ".join(f"{token} (id {number})" for token, number in ends.items()) if isinstance(ends, Mapping) else ends
    return [*facts, ("stop tokens", str(told))]


def flat(content: Any, path: str = "") -> list[tuple[str, str]]:
    """(path, words) of every leaf of nested JSON.

    >>> flat({"red_team": {"n": 1200, "parts": ["a", "b"]}})
    [('red team, n', '1,200'), ('red team, parts', 'a, b')]
    """
    if isinstance(content, Mapping):
        found = []
        for name, part in content.items():
            found += flat(part, f"{path}, {_words(str(name))}" if path else _words(str(name)))
        return found
    if isinstance(content, list) and any(isinstance(part, (Mapping, list)) for part in content):
        return [pair for part in content for pair in flat(part, path)]
    return [(path, plain(content))]
