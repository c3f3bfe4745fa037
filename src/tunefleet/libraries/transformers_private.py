"""Private names of transformers that we use, as they were read in transformers 5.23.0.

`tests/libraries` fails where one of them is gone or does something else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from transformers.utils.chat_template_utils import _compile_jinja_template

from tunefleet.libraries import jinja_powers

_DTENSORS = "torch.distributed.tensor"


def supports_sdpa(model_class: type | None) -> bool:
    """Whether the models of a class can attend through torch's scaled_dot_product_attention."""
    return bool(getattr(model_class, "_supports_sdpa", False))


def attention_of(config: Any) -> str:
    """The name of the attention that a model of `config` computes with; `from_config` set it."""
    return str(config._attn_implementation)


@contextmanager
def attention_as(config: Any, name: str) -> Iterator[None]:
    """Within, the model of `config` attends through what `AttentionInterface` registered as `name`.

    `PreTrainedModel.set_attn_implementation` walks all submodules for that, and this is done around every forward.
    """
    usual = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = usual


def forget_adapter(model: Any) -> None:
    """`save_pretrained` writes `model` whole again: it saves the adapter alone while this mark stands."""
    model._hf_peft_config_loaded = False


@contextmanager
def saving_plain() -> Iterator[None]:
    """Within, `save_pretrained` takes the model as it is: it imports neither FSDP nor DTensors to look for them."""
    from transformers import modeling_utils  # templates need none of it

    usual = modeling_utils.unwrap_model
    vars(modeling_utils)["unwrap_model"] = lambda model, recursive=False: model
    known = sys.modules.setdefault(_DTENSORS, cast(Any, None))  # Python's mark of what cannot be imported
    try:
        yield
    finally:
        vars(modeling_utils)["unwrap_model"] = usual
        if known is None:
            del sys.modules[_DTENSORS]


def compile_template(source: str) -> Any:
    """A chat template compiled in transformers' own sandbox, with its filters, `raise_exception` and `strftime_now`.

    Compiled once for each source: a change of the result's globals is seen by every user of the same source.
    """
    jinja_powers.limit()
    return cast(Any, _compile_jinja_template(source))
