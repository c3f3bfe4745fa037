"""Do weights of a file arrive whole at every stage, masters exact, and no rank with the whole model?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.loading import CASES
from tests.plans import ARCHITECTURES
from tests.ranks import run_in_ranks


def saved(folder: Path, dtype: str, **changes: Any) -> str:
    """A random model of `dtype` in a folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**{**ARCHITECTURES["opt"], **changes}))
    model.to(getattr(torch, dtype)).save_pretrained(folder / dtype)
    (folder / dtype / "tokenizer.json").write_text("{}")
    return str(folder / dtype)


def test_weights_and_masters_are_the_files_at_every_stage(tmp_path: Path) -> None:
    paths = [saved(tmp_path, "float32"), saved(tmp_path, "float16")]
    for found in run_in_ranks("tests.engine.loading:loaded", 2, tmp_path, paths):
        control = found.pop("control")
        assert len(found) == 2 * len(CASES)
        assert all(one == {"weights": True, "masters": True} for one in found.values()), json.dumps(found, indent=1)
        assert control == {"weights": True, "masters": False}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("name", "most"), [("zero3", 100), ("tensor", 125), ("pipeline", 125)])
def test_no_rank_reads_more_of_a_file_than_it_keeps(tmp_path: Path, name: str, most: int) -> None:
    """35 million parameters in fp16, which take 142 MB whole and in fp32.

    A rank of two holds 35 MB of them in bf16 under ZeRO-3, and 91 MB as a tensor peer or a stage: all of the embedding
    and half of the blocks.
    """
    sizes = {"hidden_size": 512, "word_embed_proj_dim": 512, "ffn_dim": 2048, "num_hidden_layers": 8}
    path = saved(tmp_path, "float16", vocab_size=20000, **sizes)
    taken = {
        lean: max(run_in_ranks("tests.engine.loading:memory", 2, tmp_path, [path, name, lean]))
        for lean in (True, False)
    }
    assert taken[True] < most < 130 < taken[False], taken
