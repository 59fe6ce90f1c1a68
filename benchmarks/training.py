"""How fast SFT and DPO train on this machine, beside TRL with the settings it ships.

    python -m benchmarks.training WEIGHTS [--rows 16] [--pairs 8] [--ours-only] [--last-layers N]

WEIGHTS is a plain model folder, such as the base under the work directory. Both sides see the same rows in the same
order, the same labels (TRL's own would add the newline that SmolLM2's template puts behind a turn), the same LoRA on
all layers and the same learning rate. TRL's defaults are: weights in fp32 under bf16 autocast, activation
checkpointing, every position projected onto the vocabulary, spinning OpenMP threads. Where the processor has no bf16
instructions both sides compute in fp32: autocast would slow TRL down six times there. Each side runs in its own
process, because allocator and thread settings are a process's. CPU seconds are the number that neighbours disturb
least; wall seconds are what one waits.

Printed: seconds of training (without imports and loading), losses of every step, ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SENTENCE = (
    "river stone lamp paper garden window copper silver morning winter market harbour people often walk slowly along "
    "the old road and talk about what they saw before evening comes because nobody likes to carry water in the dark"
)
WORDS = SENTENCE.split()
LEARNING_RATE = {"sft": 1e-3, "dpo": 1e-4}


def text(seed: int, n_words: int) -> str:
    """Words without meaning, the same for the same seed."""
    state, said = seed * 7919 + 1, []
    for _ in range(n_words):
        state = (state * 1103515245 + 12345) % 2**31
        said.append(WORDS[state // 65536 % len(WORDS)])
    return " ".join(said).capitalize() + "."


def rows(kind: str, n: int) -> list[dict[str, Any]]:
    """Rows of the shipped default's size: about 60 tokens of context and 20 to 96 of answer."""
    made = []
    for row in range(n):
        turns = [{"role": "user", "text": text(row, 12 + row % 18)}]
        answer = text(1000 + row, 20 + 11 * (row % 7))
        if kind == "sft":
            made.append({"id": str(row), "turns": turns, "response": answer, "cut": False})
        else:
            other = text(2000 + row, 20 + 11 * ((row + 3) % 7))
            made.append({"id": str(row), "turns": turns, "chosen": answer, "rejected": other, "p_chosen": 1.0})
    return made


def ours(kind: str, weights: Path, n: int, work: Path, last_layers: int | None) -> list[float]:
    """Losses of every step, trained by this project; the clock starts at the first step."""
    from cai.params import native_precision
    from cai.training import dpo, sft
    from cai.training.tuning import DpoTuning, SftTuning

    common: dict[str, Any] = {
        "adapter": "lora", "rank": 16, "alpha": 32.0, "dropout": 0.0, "last_layers": last_layers, "schedule": "linear",
        "learning_rate": LEARNING_RATE[kind], "warmup_share": 0.0, "weight_decay": 0.0, "max_grad_norm": 1.0,
        "epochs": 1, "batch_size": 8, "accumulation_steps": 1, "max_length": 256, "eos_on_cut_rows": "teach",
        "precision": native_precision(), "activation_checkpointing": False, "seed": 0,
        "save_every_steps": 1000, "eval_every_steps": 0,
        "guard": {"every_steps": 0, "n_prompts": 1, "max_new_tokens": 1, "max": {}},
    }  # fmt: skip
    from cai.training import cpu, session
    from cai.training.labels import preference_pairs, sft_examples

    cpu.keep_freed_memory()
    session.quiet()
    if kind == "sft":
        params: Any = SftTuning(**common)
        opened = session.open_weights(weights, params)
        kept: Any = sft_examples(rows(kind, n), opened.tokenizer, max_length=256, eos_on_cut_rows="teach")[0]
        trainer = sft.build_trainer(opened, kept, [], params, work)
    else:
        params = DpoTuning(**common, loss="sigmoid", beta=0.1, soft_labels=True, label_smoothing=0.0, sft_weight=0.0)
        opened = session.open_weights(weights, params)
        kept = preference_pairs(rows(kind, n), opened.tokenizer, max_length=256, eos_on_cut_rows="teach")[0]
        trainer = dpo.build_trainer(opened, kept, [], params, work)
    session.hasten(trainer)
    return timed(trainer)


def theirs(kind: str, weights: Path, n: int, work: Path) -> list[float]:
    """Losses of every step, trained by TRL as it comes; rows in the order of ours."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    from cai.llm.weights import tokenizer
    from cai.params import native_precision
    from cai.training import dpo, sft
    from cai.training.checkpoints import PlannedOrder
    from cai.training.labels import preference_pairs, sft_examples

    read = tokenizer(weights)
    limits: dict[str, Any] = {"max_length": 256, "eos_on_cut_rows": "teach"}
    kept: Any = (sft_examples if kind == "sft" else preference_pairs)(rows(kind, n), read, **limits)[0]
    table = (sft.dataset(kept) if kind == "sft" else dpo.dataset(kept, soft=False)).to_list()
    table = [table[place] for place in PlannedOrder([row["length"] for row in table], 8, 0)]
    options: dict[str, Any] = {
        "output_dir": str(work), "use_cpu": True, "learning_rate": LEARNING_RATE[kind], "num_train_epochs": 1,
        "logging_steps": 1, "report_to": "none", "disable_tqdm": True, "save_strategy": "no",
        "train_sampling_strategy": "sequential", "bf16": native_precision() == "bf16",
    }  # fmt: skip
    adapter = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    data = Dataset.from_list([{key: value for key, value in row.items() if key != "length"} for row in table])
    common: dict[str, Any] = {"processing_class": read, "peft_config": adapter}
    if kind == "sft":
        trainer: Any = SFTTrainer(str(weights), args=SFTConfig(**options), train_dataset=data, **common)
    else:
        # DPOTrainer takes texts only: it is built with one pair of them, and then given the ids.
        one = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
        trainer = DPOTrainer(str(weights), args=DPOConfig(**options), train_dataset=one, **common)
        trainer.train_dataset = data
    return timed(trainer)


def timed(trainer: Any) -> list[float]:
    """Losses of every step; prints what the training loop took."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    trainer.train()
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = after.ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_gib": peak, "losses": losses}))
    return losses


def measure(kind: str, side: str, weights: Path, n: int, last_layers: int | None) -> dict[str, Any]:
    """One side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", str(weights), "--side", side, "--kind", kind, "--n", str(n)]
    command += ["--last-layers", str(last_layers)] if last_layers else []
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"seconds"')]
    if not lines:
        sys.exit(f"{kind} {side} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    print(
        f"{kind:4} {side:7} {n:3} rows  wall {found['seconds']:6.1f} s  cpu {found['cpu_seconds']:6.1f} s"
        f"  peak {found['peak_gib']:.1f} GiB  losses {' '.join(f'{loss:.3f}' for loss in found['losses'])}",
        flush=True,
    )
    return found


def main() -> None:
    """Print a line per side and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--last-layers", type=int)
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=("sft", "dpo"), help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        with tempfile.TemporaryDirectory() as work:
            if asked.side == "ours":
                ours(asked.kind, asked.weights, asked.n, Path(work), asked.last_layers)
            else:
                theirs(asked.kind, asked.weights, asked.n, Path(work))
        return
    for kind, n in (("sft", asked.rows), ("dpo", asked.pairs)):
        mine = measure(kind, "ours", asked.weights, n, asked.last_layers)
        if asked.ours_only:
            continue
        trl = measure(kind, "theirs", asked.weights, n, None)
        apart = max(abs(a - b) for a, b in zip(mine["losses"], trl["losses"], strict=True))
        print(
            f"{kind:4} TRL / ours: wall {trl['seconds'] / mine['seconds']:.2f}, "
            f"cpu {trl['cpu_seconds'] / mine['cpu_seconds']:.2f}; losses at most {apart:.3f} apart"
        )


if __name__ == "__main__":
    main()
