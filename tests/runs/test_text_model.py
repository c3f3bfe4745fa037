"""Does a folder of a model open: whole, or an adapter that is compared with its base? Is any other refused?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tests import scripted_model
from tunefleet.base.errors import RunError
from tunefleet.evaluation.streamed_answer import Sampling
from tunefleet.runs import text_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_model.write(tmp_path_factory.mktemp("base") / "model", {"a": "Hi."})


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    """An adapter that moves the hidden state of every token, so that other tokens follow."""
    folder = base.with_name("adapter")
    peft: Any = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=4, target_modules=["o_proj"], task_type="CAUSAL_LM")
    )
    torch.manual_seed(0)
    for name, weight in peft.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=1.0)
    peft.peft_config["default"].base_model_name_or_path = str(base)
    peft.save_pretrained(folder)
    return folder


def answer(model: text_model.TextModel) -> str:
    return model.answer(model.ids("a"), Sampling(max_tokens=8)).text


def test_an_adapter_answers_without_being_merged_and_its_base_beside_it(base: Path, adapter: Path) -> None:
    tuned = text_model.of_folder(adapter)
    beneath = tuned.beneath()
    assert beneath is not None
    assert beneath.model is tuned.model  # no second copy
    assert answer(beneath) == answer(text_model.of_folder(base)) == "Hi."
    merged = tuned.model.merge_and_unload()
    other = answer(tuned.beside(base))
    assert other == "Hi."
    expected = merged.generate(torch.tensor([tuned.ids("a")]), do_sample=False, max_new_tokens=8, eos_token_id=2)
    text = tuned.tokenizer.decode(expected[0, 1:], skip_special_tokens=True)
    assert answer(text_model.of_folder(adapter)) == text != "Hi."


def test_a_whole_model_has_no_base_of_its_own(base: Path) -> None:
    assert text_model.of_folder(base).beneath() is None


def test_whether_the_template_writes_system_prompts_and_tools(base: Path, tmp_path: Path) -> None:
    model = text_model.of_folder(base)
    assert (model.writes_system(), model.writes_tools()) == (True, False)
    folder = scripted_model.write(tmp_path / "tools", {"a": "Hi."}, template=scripted_model.TOOL_TEMPLATE)
    assert text_model.of_folder(folder).writes_tools()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "has no adapter_model.safetensors"),
        (
            lambda folder: (folder / "adapter_config.json").write_text(
                json.dumps({"base_model_name_or_path": "/nowhere"})
            ),
            "is an adapter for /nowhere, which is not on this machine",
        ),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "adapter_config.json: cannot be read"),
    ],
)
def test_an_adapter_that_cannot_be_opened(adapter: Path, tmp_path: Path, damage: Any, message: str) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    damage(folder)
    with pytest.raises(RunError, match=message):
        text_model.of_folder(folder)


def test_a_model_that_cannot_be_opened(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match="cannot be loaded"):
        text_model.of_folder(folder)
