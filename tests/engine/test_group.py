"""Does joining a group import no more than it must?"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.ranks import run_in_ranks
from tunefleet.engine import group
from tunefleet.libraries import deepspeed_private


def compiler_is_imported(folder: Path, uncompiled: bool) -> bool:
    """In a rank that has joined, once a ZeRO stage has asked for DeepSpeed's Muon."""
    if not uncompiled:
        deepspeed_private.import_muon = lambda: None
    group.join().destroy()
    importlib.import_module("deepspeed.runtime.zero.muon.muon_optimizer")
    return "torch._inductor.compile_fx" in sys.modules


@pytest.mark.parametrize("uncompiled", [True, False])
def test_torch_s_compiler_is_not_imported_for_a_muon_that_nobody_uses(tmp_path: Path, uncompiled: bool) -> None:
    """False is the control: DeepSpeed alone imports it."""
    function = "tests.engine.test_group:compiler_is_imported"
    assert run_in_ranks(function, 1, tmp_path, uncompiled) == [not uncompiled]
