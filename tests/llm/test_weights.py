"""References and chains: names that depend on content only, and merges that equal peft's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cai.errors import ArtifactError, ModelError, ParamsError
from cai.llm import weights
from cai.llm.weights import (
    Reference,
    adapter_sha256,
    chain_reference,
    open_base,
    open_chain,
    resolve,
    stack,
    tokenizer,
    write_chain,
)
from tests.llm.conftest import SMOLLM2, silent
from tests.stages.hub_server import HubServer

ROOT = Path(__file__).resolve().parents[2]
HUB = {"kind": "hub", "id": "owner/name", "revision": "a" * 40}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    """A Llama of two small layers with SmolLM2's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(smollm2 / name, folder / name)
    return folder


def _train(base: Path, out: Path, seed: int, **options: Any) -> Any:
    """A LoRA of random weights on ``base``, saved to ``out``; the peft model comes back."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    settings = {"r": 4, "lora_alpha": 10, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | options
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "trainable_tokens_delta" in name:
                parameter.normal_(0, 0.02)
    model.save_pretrained(out)
    return model


def _project(folder: Path, base: Path) -> Path:
    models = folder / "data" / "models"
    (models / "base").mkdir(parents=True)
    reference = resolve({"kind": "folder", "folder": {"path": str(base)}})
    (models / "base" / "reference.json").write_text(json.dumps(reference))
    return models


def _equal(one: Any, other: Any) -> bool:
    import torch

    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.up_proj": 3}},
        {"trainable_token_indices": [1, 2]},
    ],
)
def test_a_chain_of_two_adapters_equals_merging_each_with_peft(
    tmp_path: Path, tiny: Path, options: dict[str, Any]
) -> None:
    from transformers import AutoModelForCausalLM

    models, work = _project(tmp_path, tiny), tmp_path / "work"
    first = _train(tiny, models / "sft", 1, **options).merge_and_unload()
    write_chain(models / "sft", *stack(models / "base"))
    opened = open_chain("sft", tmp_path, work, "fp32")
    assert _equal(AutoModelForCausalLM.from_pretrained(opened), first)
    second = _train(opened, models / "dpo", 2, **options).merge_and_unload()
    write_chain(models / "dpo", *stack(models / "sft"))
    opened = open_chain("dpo", tmp_path, work, "fp32")
    assert _equal(AutoModelForCausalLM.from_pretrained(opened), second)
    cast = AutoModelForCausalLM.from_pretrained(open_chain("dpo", tmp_path, work, "bf16"))
    assert _equal(cast, second.bfloat16())
    shutil.rmtree(opened)
    rebuilt = AutoModelForCausalLM.from_pretrained(open_chain("dpo", tmp_path, work, "fp32"))
    assert _equal(rebuilt.bfloat16(), cast)


def test_a_full_fine_tuning_stands_alone_and_carries_adapters(tmp_path: Path, tiny: Path) -> None:
    from transformers import AutoModelForCausalLM

    models, work = _project(tmp_path, tiny), tmp_path / "work"
    model = AutoModelForCausalLM.from_pretrained(tiny)
    model.get_input_embeddings().weight.data.mul_(2)
    model.save_pretrained(models / "sft", max_shard_size="1MB")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny / name, models / "sft" / name)
    write_chain(models / "sft", *stack(models / "base"))
    assert open_chain("sft", tmp_path, work, "fp32") == models / "sft"
    merged = _train(models / "sft", models / "dpo", 3).merge_and_unload()
    write_chain(models / "dpo", *stack(models / "sft"))
    assert _equal(AutoModelForCausalLM.from_pretrained(open_chain("dpo", tmp_path, work, "fp32")), merged)


def test_a_models_name_depends_on_content_and_not_on_its_place(tmp_path: Path, tiny: Path) -> None:
    names = []
    for place in ("one", "two"):
        base = tmp_path / place / "base weights"
        shutil.copytree(tiny, base)
        models = _project(tmp_path / place, base)
        _train(tiny, models / "sft", 1)
        write_chain(models / "sft", *stack(models / "base"))
        names.append(chain_reference(models / "sft"))
    assert names[0] == names[1]
    config = models / "sft" / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 10', '"lora_alpha": 11'))
    assert chain_reference(models / "sft") != names[0]


def test_a_chain_without_its_lower_adapter_says_which_one_is_missing(tmp_path: Path, tiny: Path) -> None:
    models = _project(tmp_path, tiny)
    _train(tiny, models / "dpo", 1)
    write_chain(models / "dpo", stack(models / "base")[0], [{"name": "sft", "sha256": "ab" * 32}])
    with pytest.raises(ModelError, match=r"the adapter sft .* is not here.*expected sft abababababab"):
        open_chain("dpo", tmp_path, tmp_path / "work", "fp32")


def test_an_adapter_of_a_kind_that_cannot_be_merged_is_refused(tmp_path: Path, tiny: Path) -> None:
    models = _project(tmp_path, tiny)
    _train(tiny, models / "sft", 1)
    write_chain(models / "sft", *stack(models / "base"))
    file = models / "sft" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"use_dora": True}))
    with pytest.raises(ModelError, match="cannot be merged"):
        open_chain("sft", tmp_path, tmp_path / "work", "fp32")
    assert not list((tmp_path / "work" / "weights").glob("sft-*[!k]"))


def test_an_unknown_model_is_named_with_those_that_exist(tmp_path: Path, tiny: Path) -> None:
    _project(tmp_path, tiny)
    with pytest.raises(ModelError, match="model dpo: no such trained model; expected base"):
        open_chain("dpo", tmp_path, tmp_path, "fp32")


def test_a_folder_without_weights_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no weights"):
        adapter_sha256(tmp_path)


def test_all_that_is_wrong_with_a_reference_is_said_at_once() -> None:
    with pytest.raises(ParamsError) as caught:
        resolve({"kind": "wheel", "wheel": {"package": "x", "sha256": "short", "member": ""}})
    for word in ("version", "sha256 is not 64 hex", "member is", "member_sha256"):
        assert word in str(caught.value)


@pytest.mark.parametrize("wrong", [{"revision": "main"}, {"id": "a/b/c"}, {"revision": None}])
def test_a_hub_model_must_be_pinned_to_a_commit(wrong: dict[str, Any]) -> None:
    assert resolve(HUB) == HUB
    with pytest.raises(ParamsError):
        resolve(HUB | wrong)


# A process of its own: the endpoint is read when huggingface_hub is imported.
OPENER = """
import json, sys, time
from pathlib import Path
from cai.doctor import _hub_access
from cai.errors import CaiError
from cai.llm.weights import open_base

for reference in json.loads(sys.argv[1]):
    started = time.monotonic()
    try:
        said = str(open_base(reference, Path(".")))
    except CaiError as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps([said, time.monotonic() - started, _hub_access(reference["id"], reference["revision"]).fact]))
"""


def test_a_hub_model_is_fetched_once_and_a_hub_that_is_not_there_is_one_clear_error_at_once(
    tmp_path: Path, tiny: Path
) -> None:
    def opened(*references: Reference) -> list[list[Any]]:
        places = {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        command = [sys.executable, "-c", OPENER, json.dumps(references)]
        env = os.environ | places | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    files = {file.name: file.read_bytes() for file in tiny.iterdir()} | {"pytorch_model.bin": b"not wanted"}
    other = HUB | {"revision": "b" * 40}
    with HubServer({}, {HUB["id"]: (HUB["revision"], files)}) as server:
        (folder, _, _), (refused, _, _) = opened(HUB, other)
        assert {file.name: file.read_bytes() for file in Path(folder).iterdir()} == {
            name: content for name, content in files.items() if name != "pytorch_model.bin"
        }
        assert "the hub has no such model or commit" in refused
    (again, _, _), (unreached, seconds, access) = opened(HUB, other)
    assert again == folder
    assert "cannot be fetched" in unreached and f"expected a hub that answers at {server.url}" in unreached
    assert seconds < 10  # the hub's own client waits 1 + 2 + 4 + 8 + 8 seconds between six tries
    assert "the hub does not answer" in access


def test_an_unknown_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a Hugging Face model folder.*the folder itself"):
        resolve({"kind": "folder", "path": str(tmp_path / "nowhere")})


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("config.json", b"{", "config.json: not valid JSON"),
        ("tokenizer.json", b"", "tokenizer.json: not valid JSON"),
        ("tokenizer_config.json", b"[]", "tokenizer_config.json: not a JSON object"),
        ("model.safetensors", b"", "not a whole safetensors file, 0 bytes"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:x\n", "a git-LFS pointer"),
        ("model.safetensors", (3).to_bytes(8, "little") + b"[1]", "invalid JSON in header"),
        ("model.safetensors", None, "not fully covered"),
    ],
    ids=["config", "empty tokenizer", "no object", "empty weights", "LFS pointer", "another file", "truncated weights"],
)
def test_a_folder_with_a_broken_file_is_refused_before_anything_is_written(
    tmp_path: Path, tiny: Path, name: str, content: bytes | None, fault: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    assert resolve({"kind": "folder", "folder": {"path": str(copy)}})["sha256"]
    whole = (copy / name).read_bytes() if content is None else b""
    (copy / name).write_bytes(whole[:-5] if content is None else content)
    with pytest.raises(ModelError, match=fault) as caught:
        resolve({"kind": "folder", "folder": {"path": str(copy)}})
    assert str(caught.value).startswith("params.yaml: model.folder.path: ")


def test_a_folder_that_changed_after_it_was_referenced_is_refused(tmp_path: Path, tiny: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    reference = resolve({"kind": "folder", "path": str(copy)})
    assert open_base(reference, tmp_path / "work") == copy
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    with pytest.raises(ModelError, match="have changed"):
        open_base(reference, tmp_path / "work")


def test_the_converted_base_is_plain_and_holds_no_machine_path(smollm2: Path) -> None:
    config = json.loads((smollm2 / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert not {"quantization_config", "_model_name_or_path"} & set(config)
    settings = json.loads((smollm2 / "tokenizer_config.json").read_text())
    assert settings["model_max_length"] == 8192
    assert str(smollm2.parent) not in (smollm2 / "tokenizer_config.json").read_text()
    assert tokenizer(smollm2).padding_side == "left"


def test_a_tokenizer_without_a_template_gets_the_plain_one_that_ends_answers(tmp_path: Path, tiny: Path) -> None:
    copy = tmp_path / "plain"
    shutil.copytree(tiny, copy)
    (copy / "chat_template.jinja").unlink()
    loaded = tokenizer(copy)
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert loaded.apply_chat_template(chat, tokenize=False) == "<|im_start|>Human: Hi\n\nAssistant: Hello<|im_end|>\n\n"
    asked = loaded.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)
    assert asked == "<|im_start|>Human: Hi\n\nAssistant:"


@pytest.mark.slow
def test_what_ends_an_answer_is_read_without_a_library_as_the_backend_reads_it(root: Path, tmp_path: Path) -> None:
    from cai.llm.hf import open_model

    found = weights.stop_tokens("base", root, tmp_path)
    assert found["<|im_end|>"] == 2
    opened = open_model("base", root=root, work=tmp_path, batch_size=1, precision="fp32", show=silent)
    assert tuple(found.values()) == opened.stop_ids


def test_the_decoder_gives_the_text_that_the_tokenizer_gives(smollm2: Path) -> None:
    whole, decode = tokenizer(smollm2), weights.decoder(smollm2)
    for text in ("I can't help , sorry !<|im_end|>", "Être 你好 👍🏽 😊", "  two  spaces\n\n- a list\n"):
        ids = whole.encode(text, add_special_tokens=False)
        for cut in (len(ids), len(ids) // 2):
            expected = whole.decode(ids[:cut], skip_special_tokens=True, clean_up_tokenization_spaces=False)
            assert decode(ids[:cut]) == expected
    code = (
        "from pathlib import Path; import sys; from cai.llm import weights; weights.decoder(Path(sys.argv[1]))([1, 9]);"
    )
    code += "sys.exit('transformers' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(smollm2)], check=True)


def test_converted_weights_are_what_the_gguf_says(smollm2: Path) -> None:
    import gguf
    import numpy as np
    from safetensors import safe_open

    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
        "blk.29.attn_v.weight": "model.layers.29.self_attn.v_proj.weight",
        "output_norm.weight": "model.norm.weight",
    }
    file = smollm2.parents[1] / "wheels" / SMOLLM2["sha256"] / SMOLLM2["member"]
    packed = {
        one.name: gguf.dequantize(one.data, one.tensor_type)
        for one in gguf.GGUFReader(file).tensors
        if one.name in names
    }
    (stored,) = smollm2.glob("*.safetensors")
    with safe_open(stored, "numpy") as tensors:
        for theirs, ours in names.items():
            tensor = tensors.get_tensor(ours)
            assert np.array_equal(packed[theirs].reshape(tensor.shape), tensor), ours


@pytest.mark.slow
def test_the_conversion_keeps_every_weight_bit_for_bit(smollm2: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    gguf = smollm2.parents[1] / "wheels" / SMOLLM2["sha256"] / SMOLLM2["member"]
    packed = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    assert _equal(AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32), packed)


def test_reading_a_chain_needs_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, cai.llm.weights, cai.llm.hf; assert 'torch' not in sys.modules and 'peft' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(weights.__file__).parents[2])
