"""Export format: a whole model that plain transformers loads, or an adapter that peft loads."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig, PreTrainedModel

from tunefleet import __version__
from tunefleet.base import delivery, disk, files, progress
from tunefleet.base.errors import ConfigError, ExportError
from tunefleet.config.adapter import AdapterName
from tunefleet.config.train import Precision
from tunefleet.contracts import RunState
from tunefleet.data.encode.end_of_turn import end_of_turn
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.model.export import write, write_without_weights
from tunefleet.plan.families.lora_targets import exports_adapter_only
from tunefleet.plan.plan import Plan
from tunefleet.runs import verify_export
from tunefleet.runs.verify_export import Expected

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The dtypes that weights may be exported in, by the names that `train.precision` has for them."""


@dataclass(frozen=True)
class Form:
    """How weights are written: in which of `DTYPES`, and in files of at most so many bytes; as they are where None."""

    dtype: str | None = None
    shard_bytes: int | None = None


AS_THEY_ARE = Form()
_FILES = 12  # that are written beside the weights, about: the tokenizer's, settings
_INDENTED = 2  # times the bytes of a tokenizer, as its file has them


def stage(
    plan: Plan,
    staged: Path,
    model: PreTrainedModel,
    weights: dict[str, Tensor],
    tokenizer: Any,
    template: ChatTemplate,
    form: Form = AS_THEY_ARE,
) -> None:
    """Writes `weights` of `model` into `staged`; with an adapter as `adapter.merge` says.

    Raises `ExportError` where a weight has no value in the dtype of `form`; `DiskError` before anything is written
    where the disk has no room for them.
    """
    adapter, stops = plan.config.adapter, end_of_turn(template, tokenizer).stops
    with progress.during("exporting"):
        if adapter.name is not AdapterName.NONE and adapter.merge:
            from tunefleet.model import lora  # peft starts here

            model = lora.merge(model, adapter, weights)
            weights = dict(model.state_dict())
        if form.dtype:
            weights = _converted(weights, DTYPES[form.dtype])
        _expect_room(plan, staged, model, weights, tokenizer, form)
        write(staged, model, weights, tokenizer, template.exported, stops, form.shard_bytes)


def _expect_room(
    plan: Plan, staged: Path, model: PreTrainedModel, weights: dict[str, Tensor], tokenizer: Any, form: Form
) -> None:
    """Raises `DiskError` where the disk has no room for what is written of `weights`, beside the old export."""
    names = set(weights)
    if exports_adapter_only(plan.config.adapter):
        names &= {name for name, weight in model.named_parameters() if weight.requires_grad}
    storages = {(weights[name].data_ptr(), weights[name].nbytes) for name in names}  # tied weights are written once
    needed = sum(size for _, size in storages)
    shards = needed // form.shard_bytes if form.shard_bytes else 0
    beside = _INDENTED * len(tokenizer.backend_tokenizer.to_str())
    disk.expect_room(staged / "model.safetensors", needed + beside, files=_FILES + shards)


def _converted(weights: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """`weights` in `dtype`; those that are one stay one. fp16 ends at 65504: what is beyond it would be infinite."""
    converted: dict[tuple[int, torch.Size], Tensor] = {}
    for name, weight in weights.items():
        place = (weight.data_ptr(), weight.shape)
        if place not in converted or not weight.numel():
            rounded = weight.to(dtype) if weight.is_floating_point() else weight
            if not bool(torch.isfinite(rounded).all()) and bool(torch.isfinite(weight).all()):
                raise ExportError(f"{name} has values that {dtype} has no room for. Export in bf16 or fp32.")
            converted[place] = rounded
    return {name: converted[weight.data_ptr(), weight.shape] for name, weight in weights.items()}


def verify_and_deliver(plan: Plan, staged: Path, folder: Path, state: RunState, expected: Expected) -> dict[str, str]:
    """Gives what was staged its final place, if it is what was trained; returns what was compared.

    Raises `ExportError` where it is not; `folder` is as it was then.
    """
    with progress.during("comparing the export with what was trained"):
        compared = verify_export.verify(staged, expected)
    facts = {"version": __version__, "run": plan.name, "identity": plan.identity, "step": state.step}
    delivery.deliver(staged, folder, {**facts, "merged": plan.config.adapter.merge, "compared": compared})
    return compared


def expect_exportable(plan: Plan, model: PreTrainedModel, tokenizer: Any, template: ChatTemplate) -> None:
    """Writes all but the weights, before they are trained, and reads it again as an inference server would.

    Raises `ConfigError` where the export would not be what is trained: better now than after the training.
    """
    stops = end_of_turn(template, tokenizer).stops
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            write_without_weights(folder, model, tokenizer, template.exported, stops)
            reloaded = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            generation = GenerationConfig.from_dict(files.read_json(folder / "generation_config.json"))
        except Exception as error:  # of transformers, of the Rust library: whatever it is, the export would meet it
            raise ConfigError(f"checkpoint.export: no export could be written: {_summary(error)}. {_WITHOUT}") from None
    if changed := [text for text in verify_export.PROBES if ids(reloaded, text) != ids(tokenizer, text)]:
        raise ConfigError(
            f"model.tokenizer: transformers reads the tokenizer of an exported {model.config.model_type} as a "
            f"{type(reloaded).__name__}, whatever its files say, and that makes other tokens of {changed[0][:20]!r}. "
            f"Use a tokenizer of the model's own family (model.tokenizer=FOLDER). {_WITHOUT}"
        )
    eos = generation.eos_token_id if isinstance(generation.eos_token_id, list) else [generation.eos_token_id]
    if reloaded.chat_template != template.exported or set(eos) != set(stops):
        raise ConfigError(f"checkpoint.export: its chat template or its stop tokens {eos} would be others. {_WITHOUT}")


def _summary(error: Exception) -> str:
    """The first line of a message, with its items."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]).rstrip(". ")


_WITHOUT = "Or set checkpoint.export=false, to train without an export."


def ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of `text` alone."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def expected(plan: Plan, tokenizer: Any, template: ChatTemplate, texts: list[str], **logits: Any) -> Expected:
    """What an export must give again; `logits` are `Expected`'s."""
    texts = [*verify_export.PROBES, *texts]
    token_ids, stops = [ids(tokenizer, text) for text in texts], end_of_turn(template, tokenizer).stops
    fp32 = plan.config.train.precision is Precision.FP32
    return Expected(texts, token_ids, template, stops, fp32=fp32, **logits)
