"""How a trained model is handed over: a folder that plain transformers loads."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from tunefleet.base import files


def export(
    folder: Path, model: PreTrainedModel, weights: dict[str, Tensor], tokenizer: Any, chat_template: str
) -> None:
    """Writes safetensors, config, tokenizer and chat template; `folder` appears whole or not at all."""
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    config = model.config
    config.use_cache, used = True, config.use_cache
    try:
        model.save_pretrained(temporary, state_dict=dict(weights))  # it empties the mapping
    finally:
        config.use_cache = used
    tokenizer.backend_tokenizer.no_padding()  # how it was called last is no part of it
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    files.publish(temporary, folder)
