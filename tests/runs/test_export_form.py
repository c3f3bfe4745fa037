"""Are weights exported in the dtype and in files of the size that were asked for, and still open in plain libraries?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.plans import tiny_plan
from tests.shared import tiny_model, tiny_tokenizer
from tunefleet.base import files
from tunefleet.base.errors import ExportError
from tunefleet.config.adapter import AdapterConfig, AdapterName
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.model import lora
from tunefleet.runs import export_format
from tunefleet.runs.export_format import Form

TEMPLATE = ChatTemplate("{% for m in messages %}{{ m.content }}</s>{% endfor %}", {"eos_token": "</s>"})
KIB = 1 << 10


def staged(folder: Path, model: Any, form: Form, adapter: AdapterConfig | None = None) -> Path:
    """The export of `model` in `folder`, which plain libraries are to open."""
    (folder / "plan").mkdir(parents=True)
    plan = tiny_plan(folder / "plan")
    plan = replace(plan, config=replace(plan.config, adapter=adapter)) if adapter else plan
    target = folder / "export"
    target.mkdir()
    export_format.stage(plan, target, model, dict(model.state_dict()), tiny_tokenizer(), TEMPLATE, form)
    return target


@pytest.mark.parametrize("family", ["opt", "llama"], ids=["tied head", "own head"])
@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_weights_have_the_dtype(tmp_path: Path, family: str, name: str) -> None:
    model, dtype = tiny_model(family, vocab_size=320), export_format.DTYPES[name]
    target = staged(tmp_path, model, Form(name))
    assert files.read_json(target / "config.json")["dtype"] == str(dtype).removeprefix("torch.")
    opened = AutoModelForCausalLM.from_pretrained(target, dtype="auto")
    assert opened.dtype is dtype
    exact = dict(model.named_parameters())
    for parameter, weight in opened.named_parameters():
        assert torch.equal(weight, exact[parameter].to(dtype))
    size = sum(weight.numel() for weight in opened.parameters()) * dtype.itemsize
    assert size <= (target / "model.safetensors").stat().st_size < size + 16 * KIB  # a tied head is there once


def test_weights_are_in_files_of_the_size(tmp_path: Path) -> None:
    model = tiny_model("llama", vocab_size=320)
    target = staged(tmp_path, model, Form(shard_bytes=48 * KIB))
    shards = sorted(target.glob("model-*.safetensors"))
    assert len(shards) >= 3
    assert all(shard.stat().st_size <= 48 * KIB + 4 * KIB for shard in shards)
    assert (target / "model.safetensors.index.json").is_file()
    opened = AutoModelForCausalLM.from_pretrained(target)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(opened(ids).logits, model.eval()(ids).logits)


def test_an_adapter_alone_opens_in_peft(tmp_path: Path) -> None:
    base = tiny_model("llama", vocab_size=320)
    base.save_pretrained(tmp_path / "base")
    adapter = AdapterConfig(name=AdapterName.LORA, merge=False, rank=4)
    lora.attach(base, adapter, seed=0, base=str(tmp_path / "base"))
    with torch.no_grad():
        for name, weight in base.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    target = staged(tmp_path, base, Form("bf16"), adapter)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    opened = PeftModel.from_pretrained(whole, target).eval()
    ids = torch.tensor([[5, 6, 7]])
    expected = base.eval()(ids).logits.detach()
    assert torch.allclose(opened(ids).logits, expected, atol=0.05 * float(expected.abs().max()))
    with opened.disable_adapter():
        assert not torch.allclose(opened(ids).logits, expected, atol=0.1)


def test_what_fp16_has_no_room_for_is_refused(tmp_path: Path) -> None:
    model = tiny_model("llama", vocab_size=320)
    with torch.no_grad():
        model.model.norm.weight[0] = 1e5
    with pytest.raises(ExportError, match=r"model\.norm\.weight has values that torch\.float16 has no room for"):
        staged(tmp_path, model, Form("fp16"))
