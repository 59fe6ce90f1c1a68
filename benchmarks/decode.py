"""Tokens per second of cai.llm.hf against transformers' own ``generate``: same weights, prompts and settings.

    python -m benchmarks.decode MODEL_FOLDER [--rows 64] [--new 64] [--precision bf16]

Prints one line per loop and batch size, and the ratio. Both draw at temperature 0.7 from the 50 likeliest tokens within
a nucleus of 0.95; nothing may stop early, so that both compute the same number of tokens. Each loop is timed whole:
prompt, decoding and sampling, without loading. Read the ratio, not the seconds, on a machine that others use too.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from cai.dialogue import Turn
from cai.llm import hf
from cai.llm.inference import Engine
from cai.llm.model import Request, Sampling

TOPICS = (
    "bread",
    "bridges",
    "clouds",
    "copper",
    "dice",
    "elms",
    "ferries",
    "glass",
    "harbours",
    "ink",
    "jade",
    "kites",
)


def requests(n_rows: int, n_new: int, temperature: float, top_k: int, top_p: float) -> list[Request]:
    """``n_rows`` harmless questions of slightly different lengths."""
    sampling = Sampling(temperature, top_p, top_k, n_new, seed=1)
    return [
        Request(
            (Turn("user", f"Tell me {i} things about {' and '.join(TOPICS[: 1 + i % len(TOPICS)])}."),),
            sampling,
            ("benchmark", str(i), "0", "0"),
        )
        for i in range(n_rows)
    ]


def own_seconds(folder: Path, asked: list[Request], batch_size: int, precision: str, model: Engine) -> float:
    """Wall seconds of one pass of our loop; ``model`` is used again."""
    with tempfile.TemporaryDirectory() as work:
        opened = open_(folder, Path(work), batch_size, precision)
        opened._loaded, opened.stop_ids = model, ()
        start = time.perf_counter()
        done = opened.generate(asked)
        seconds = time.perf_counter() - start
    assert all(item.completion_tokens == asked[0].sampling.max_new_tokens for item in done if item.text)
    return seconds


def generate_seconds(asked: list[Request], batch_size: int, model: Any, opened: hf.HFModel) -> float:
    """Wall seconds of ``generate`` over the same prompts, sorted by length and padded on the left like ours."""
    import torch

    sampling = asked[0].sampling
    prompts = sorted(
        (ids for ids in opened.prompts([(r.dialogue, "") for r in asked]) if isinstance(ids, tuple)), key=len
    )
    start = time.perf_counter()
    for first in range(0, len(prompts), batch_size):
        batch = prompts[first : first + batch_size]
        longest = max(map(len, batch))
        ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in batch], device=model.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in batch], device=model.device)
        with torch.inference_mode():
            model.generate(
                ids,
                attention_mask=mask,
                do_sample=True,
                temperature=sampling.temperature,
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                max_new_tokens=sampling.max_new_tokens,
                min_new_tokens=sampling.max_new_tokens,
                pad_token_id=0,
            )
    return time.perf_counter() - start


def open_(folder: Path, work: Path, batch_size: int, precision: str) -> hf.HFModel:
    """The model folder, unloaded, with ``work`` for its parts."""
    return hf.open_model(
        f"folder:{folder.resolve()}",
        root=work,
        work=work,
        batch_size=batch_size,
        precision=precision,
        show=lambda done, total: None,
    )


def plain_model(folder: Path, precision: str) -> Any:
    """transformers' own class, where our loop runs."""
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    place = "cuda:0" if torch.cuda.is_available() else None
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, device_map=place)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--precision", default="bf16", choices=["bf16", "fp32"])
    parser.add_argument("--top-k", type=int, default=50)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        opened = open_(arguments.folder, Path(work), 1, arguments.precision)
    own_model = opened._model()
    model = plain_model(opened.weights(), arguments.precision)
    asked = requests(arguments.rows, arguments.new, 0.7, arguments.top_k, arguments.top_p)
    n_tokens = arguments.rows * arguments.new
    generate_seconds(asked[:4], 4, model, opened)
    for batch_size in arguments.batch_size:
        ours, theirs = [], []
        for _ in range(arguments.repeats):  # in turns, so that a busy neighbour disturbs both alike
            ours.append(own_seconds(arguments.folder, asked, batch_size, arguments.precision, own_model))
            theirs.append(generate_seconds(asked, batch_size, model, opened))
        own, plain = statistics.median(ours), statistics.median(theirs)
        print(
            f"{arguments.precision} batch {batch_size:3d}: cai.llm.hf {n_tokens / own:7.1f} tokens/s   "
            f"generate {n_tokens / plain:7.1f} tokens/s   ratio {plain / own:.2f}   "
            f"(median of {arguments.repeats}, {arguments.rows} prompts x {arguments.new} new tokens)",
            flush=True,
        )


if __name__ == "__main__":
    main()
