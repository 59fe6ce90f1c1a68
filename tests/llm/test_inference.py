"""Both engines compute what transformers' plain forward pass does, whatever company a row is in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cai.llm.inference import Engine, cached, llama, opened
from cai.llm.inference.linear import packed

SHAPES = {
    "tied": {"num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "wide heads, a head of its own": {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 24},
}


@pytest.fixture(scope="module", params=SHAPES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of three layers, in several files where its output layer is its own."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    sizes = {"vocab_size": 97, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 3}
    config = LlamaConfig(**sizes, initializer_range=0.3, rms_norm_eps=1e-5, rope_theta=5000.0, **SHAPES[request.param])
    made = tmp_path_factory.mktemp("llama")
    LlamaForCausalLM(config).save_pretrained(made, max_shard_size="5GB" if config.tie_word_embeddings else "100KB")
    return made


@pytest.fixture(params=["written out", "of transformers"])
def engine(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    import torch

    if request.param == "of transformers":
        monkeypatch.setattr(llama, "reads", lambda folder: None)
    engine = opened(folder, torch.float32, "cpu")
    assert isinstance(engine, llama.Llama) == (request.param == "written out")
    return engine


def _plain(folder: Path, rows: list[list[int]], dtype: Any = None) -> Any:
    """Logits (rows, vocabulary) of the token after each row, one row at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or torch.float32)
    with torch.inference_mode():
        return torch.stack([model(torch.tensor([row])).logits[0, -1] for row in rows])


@pytest.mark.parametrize("shared", [0, 5])
@pytest.mark.parametrize("lengths", [[900, 3, 4, 4], [7] * 5, [12], [301, 2, 300, 302]])
def test_every_step_equals_a_plain_pass_over_the_whole_row(
    engine: Engine, folder: Path, lengths: list[int], shared: int
) -> None:
    import torch

    draw = torch.Generator().manual_seed(len(lengths))
    beginning = torch.randint(97, (shared,), generator=draw).tolist()
    rows = [beginning + torch.randint(97, (n,), generator=draw).tolist() for n in lengths]
    rows.append(list(rows[0]))  # the same prompt twice, which goes on in another way
    with torch.inference_mode():
        held, logits = engine.read([tuple(row) for row in rows], shared, 8)
        assert held is not None
        torch.testing.assert_close(logits, _plain(folder, rows), rtol=1e-3, atol=1e-3)
        for step in range(5):
            if step == 3:  # the others go on without the second row
                kept = [place for place in range(len(rows)) if place != 1]
                held.keep(kept)
                rows = [rows[place] for place in kept]
            tokens = torch.randint(97, (len(rows),), generator=draw)
            rows = [[*row, token] for row, token in zip(rows, tokens.tolist(), strict=True)]
            logits = held.step(tokens)
        torch.testing.assert_close(logits, _plain(folder, rows), rtol=1e-3, atol=1e-3)


def test_without_room_nothing_is_held(engine: Engine, folder: Path) -> None:
    import torch

    rows = [(1, 2, 3, 4), (1, 2, 5)]
    with torch.inference_mode():
        held, logits = engine.read(rows, 2, None)
    assert held is None
    torch.testing.assert_close(logits, _plain(folder, [list(row) for row in rows]), rtol=1e-3, atol=1e-3)


def test_in_bf16_the_exact_output_layer_has_finer_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    rows = [(5, 6, 7), (8, 9)]
    for reads in (llama.reads, lambda folder: None):
        monkeypatch.setattr(llama, "reads", reads)
        engine = opened(folder, torch.bfloat16, "cpu")
        with torch.inference_mode():
            _, coarse = engine.read(rows, 0, None)
            with engine.exactly():
                _, exact = engine.read(rows, 0, None)
            _, again = engine.read(rows, 0, None)
        torch.testing.assert_close(coarse, _plain(folder, [list(row) for row in rows]), rtol=0.1, atol=0.5)
        torch.testing.assert_close(exact, coarse, rtol=0.02, atol=0.05)
        assert torch.equal(coarse, coarse.bfloat16().float())
        assert not torch.equal(exact, exact.bfloat16().float())
        assert torch.equal(again, coarse), "outside of the block nothing has changed"


def test_rows_of_one_length_are_one_group_and_a_long_one_stands_alone() -> None:
    assert llama.groups([5] * 40) == [(0, 40)]
    assert llama.groups([5] * 40 + [590]) == [(0, 40), (40, 41)]
    assert llama.groups([]) == []


def test_groups_hold_every_row_and_little_padding() -> None:
    lengths = [3, 3, 4, 20, 21, 90, 200]
    groups = list(cached.groups(lengths, 100))
    assert [place for start, end in groups for place in range(start, end)] == list(range(7))
    assert groups[-2:] == [(5, 6), (6, 7)], "a row longer than the limit is a group of its own"
    assert all((end - start) * lengths[end - 1] <= 100 for start, end in groups[:-1])
    assert list(cached.groups(lengths, None)) == [(0, 7)]


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "qwen2"},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}},
        {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}},
        {"quantization_config": {"quant_method": "awq"}},
    ],
)
def test_what_it_does_not_compute_is_left_to_transformers(folder: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert llama.reads(folder) == config
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    assert llama.reads(tmp_path) is None


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_packed_products_are_those_of_plain_layers(precision: str) -> None:
    import torch

    dtype = getattr(torch, precision)
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn((96, 48), generator=draw).to(dtype)
    product, added = packed(weight)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if precision == "float32" else {"rtol": 0.05, "atol": 0.2}
    for n in (1, 7, 300):
        x, y = torch.randn((n, 48), generator=draw).to(dtype), torch.randn((n, 96), generator=draw).to(dtype)
        torch.testing.assert_close(product(x), x @ weight.T, **tolerance)
        torch.testing.assert_close(added(x, y), x @ weight.T + y, **tolerance)


def test_transformers_modelling_code_stays_closed(folder: Path) -> None:
    words = (
        "import sys, torch; from pathlib import Path; from cai.llm.inference import opened;"
        "opened(Path(sys.argv[1]), torch.float32, 'cpu').read([(1, 2)], 0, None);"
        "print('transformers.modeling_utils' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", words, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
