"""A soak of a few faults: whatever is done to a run, it ends with the weights and losses of a quiet one, to the bit."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import soak, soak_faults
from tests.faults.soak import Moment
from tests.faults.soak_faults import Scene
from tests.stories.commands import train

STEPS = 30


def _each_step_saved(run: Path) -> Iterator[Moment]:
    """When two checkpoints more than at the moment before are saved."""
    for step in itertools.count(20, 10):
        checkpoint = run / "checkpoints" / f"step-{step:08d}"
        yield lambda seconds, checkpoint=checkpoint: checkpoint.exists()  # type: ignore[misc]


def _nothing(scene: Scene) -> str:
    return ""


def test_a_run_that_is_broken_again_and_again_trains_what_a_quiet_one_does(tmp_path: Path) -> None:
    """Killed, damaged, interrupted, and its checkpoints damaged: a small form of `python -m tests.faults.soak`."""
    overrides = [*soak.OVERRIDES, *soak.STRATEGIES["zero2"], f"train.max_steps={STEPS}"]
    quiet, broken = tmp_path / "quiet", tmp_path / "broken"
    for folder in (quiet, broken):
        folder.mkdir()
    train(quiet, *overrides)
    breaking = soak.Soak(broken, overrides, random.Random(7))
    running, between = [soak_faults.kill_process], [soak_faults.flip_byte]
    faults, moments = itertools.chain(running, itertools.repeat(_nothing)), _each_step_saved(breaking.run)
    breaking.until_done(faults, itertools.cycle(between), moments)
    assert len(breaking.faults) == 2, breaking.faults
    soak.compare(quiet, broken)
    _expect_that_a_bit_is_seen(quiet, broken)


def _expect_that_a_bit_is_seen(quiet: Path, broken: Path) -> None:
    """The control: with one bit of one weight changed, the comparison fails."""
    weights = next((broken / "outputs" / "soak" / "export").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(soak.BrokenPromise, match="weights differ"):
        soak.compare(quiet, broken)


def test_a_disk_that_is_filled_is_one_of_our_own(tmp_path: Path) -> None:
    """The fault fills file systems that the soak has made, and no other."""
    (tmp_path / "outputs" / "soak").mkdir(parents=True)
    if shutil.disk_usage(tmp_path).free <= 2**30:
        pytest.skip("less than 1 GiB is free here")
    assert soak_faults.fill_disk(Scene(tmp_path / "outputs" / "soak", random.Random(0))) == ""
    assert not (tmp_path / "ballast").exists()
