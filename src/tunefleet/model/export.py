"""How a trained model is handed over: a folder that plain transformers loads."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from tunefleet.base import files


def export(
    folder: Path,
    model: PreTrainedModel,
    weights: dict[str, Tensor],
    tokenizer: Any,
    chat_template: str,
    stops: Sequence[int] = (),
) -> None:
    """Writes safetensors, config, tokenizer and chat template; `folder` appears whole or not at all.

    Its generation ends at the tokens `stops`; without them, where the model's own settings say.
    """
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    config = model.config
    config.use_cache, used = True, config.use_cache
    try:
        model.save_pretrained(temporary, state_dict=dict(weights))  # it empties the mapping
    finally:
        config.use_cache = used
    _write_generation(temporary, model, tokenizer, stops)
    tokenizer.backend_tokenizer.no_padding()  # how it was called last is no part of it
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    files.publish(temporary, folder)


def _write_generation(folder: Path, model: PreTrainedModel, tokenizer: Any, stops: Sequence[int]) -> None:
    """The ids of the architecture may be another tokenizer's."""
    if stops:
        settings = copy.deepcopy(model.generation_config)
        settings.eos_token_id = list(stops) if len(stops) > 1 else stops[0]
        settings.pad_token_id = tokenizer.pad_token_id
        settings.save_pretrained(folder)
