"""Does transformers still do what `libraries/transformers_private.py` reads in it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from jinja2 import TemplateError
from peft import LoraConfig
from transformers import AttentionInterface, BloomForCausalLM, LlamaForCausalLM
from transformers.utils.chat_template_utils import render_jinja_template

from tests.shared import tiny_model
from tunefleet.libraries import transformers_private

TOKENS = torch.tensor([[3, 4, 5]])


def test_families_say_whether_they_have_sdpa() -> None:
    assert transformers_private.supports_sdpa(LlamaForCausalLM)
    assert not transformers_private.supports_sdpa(BloomForCausalLM)
    assert not transformers_private.supports_sdpa(None)


def test_a_model_attends_by_the_name_in_its_config() -> None:
    """The layers look the name up at every forward, in the functions that were registered."""
    model, calls = tiny_model("llama"), list[str]()

    def attention(module: Any, query: Any, key: Any, value: Any, *others: Any, **settings: Any) -> Any:
        calls.append("ours")
        return query.transpose(1, 2), None

    AttentionInterface.register("ours", attention)
    with transformers_private.attention_as(model.config, "ours"):
        assert transformers_private.attention_of(model.config) == "ours"
        model(TOKENS)
    assert len(calls) == model.config.num_hidden_layers
    assert transformers_private.attention_of(model.config) == "sdpa"
    model(TOKENS)
    assert len(calls) == model.config.num_hidden_layers


def test_the_attention_is_put_back_after_an_error() -> None:
    model = tiny_model("llama")
    with pytest.raises(ZeroDivisionError), transformers_private.attention_as(model.config, "ours"):
        raise ZeroDivisionError
    assert transformers_private.attention_of(model.config) == "sdpa"


@pytest.mark.parametrize(("forgets", "file"), [(False, "adapter_model.safetensors"), (True, "model.safetensors")])
def test_a_model_whose_adapter_is_forgotten_is_saved_whole(tmp_path: Path, forgets: bool, file: str) -> None:
    """Without it the adapter alone is written."""
    model = tiny_model("llama")
    model.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    if forgets:
        transformers_private.forget_adapter(model)
    model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == [file]


def test_a_template_is_compiled_once_and_its_globals_are_what_is_rendered_with() -> None:
    source = "{{ strftime_now('%Y') }}{# of this test alone #}"
    compiled = transformers_private.compile_template(source)
    assert compiled is transformers_private.compile_template(source)
    compiled.globals = {**compiled.globals, "strftime_now": lambda format: "long ago"}
    [text], _ = render_jinja_template([[{"role": "user", "content": "hi"}]], chat_template=source)
    assert text == "long ago"


def test_templates_run_in_a_sandbox() -> None:
    with pytest.raises(TemplateError):
        transformers_private.compile_template("{{ ''.__class__.__mro__ }}").render()
