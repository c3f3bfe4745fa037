"""Does `launch=slurm` compose, on a laptop, with a cluster's own settings, however it is spelled?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.launch import Launcher
from tunefleet.doors.compose import CONF, from_overrides
from tunefleet.plan import Machine, make

SECONDS = 2.0
QUICK = """
import sys
from tunefleet.doors.compose import from_overrides
from tunefleet.plan import Machine, make
words = ["launch=slurm", "launch.gpus_per_node=8", "launch.nodes=4", "model.tokenizer=.", "parallel=zero3"]
plan = make(from_overrides(words), Machine())
assert plan.layout.world_size == 32
assert not {"torch", "deepspeed", "transformers", "wandb", "optuna", "submitit"} & set(sys.modules)
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of conf/ without what this machine's person keeps in it."""
    shutil.copytree(CONF, tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    return tmp_path / "conf"


def cluster(conf: Path, text: str) -> Path:
    """A cluster's own settings."""
    (conf / "local").mkdir()
    (conf / "local" / "cluster.yaml").write_text(text)
    return conf


def test_composing_and_planning_a_job_takes_two_seconds_and_no_torch(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").touch()
    before = os.times()
    done = subprocess.run([sys.executable, "-c", QUICK], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    after = os.times()
    took = after.children_user - before.children_user + after.children_system - before.children_system
    assert (done.returncode, done.stderr) == (0, "")
    assert took < SECONDS  # of computing: others may keep the cores


@pytest.mark.parametrize("words", [["hydra/launcher=slurm"], ["hydra/launcher=submitit_slurm"]])
def test_hydras_way_to_say_it_is_ours(words: list[str], conf: Path) -> None:
    slurm = from_overrides(["launch=slurm"], conf)
    assert from_overrides(words, conf) == slurm
    assert slurm.launch.name is Launcher.SLURM
    assert from_overrides([], conf).launch.name is Launcher.LOCAL


def test_hydras_way_to_say_local_is_ours_too(conf: Path) -> None:
    assert from_overrides(["hydra/launcher=local"], conf) == from_overrides([], conf)
    assert from_overrides(["hydra/launcher=submitit_local"], conf) == from_overrides([], conf)


def test_a_clusters_own_settings_are_taken(conf: Path) -> None:
    cluster(conf, "partition: gpu\naccount: lab\ngpus_per_node: 8\nsetup: [module load cuda]\nextra: {licenses: 2}\n")
    launch = from_overrides(["launch=slurm"], conf).launch
    assert (launch.partition, launch.account, launch.gpus_per_node) == ("gpu", "lab", 8)
    assert (launch.setup, launch.extra) == (("module load cuda",), {"licenses": "2"})
    assert (launch.nodes, launch.time) == (1, "1h")


def test_what_is_typed_goes_before_a_clusters_settings(conf: Path) -> None:
    cluster(conf, "partition: gpu\ngpus_per_node: 8\n")
    launch = from_overrides(["launch=slurm", "launch.partition=debug"], conf).launch
    assert (launch.partition, launch.gpus_per_node) == ("debug", 8)


def test_without_a_clusters_settings_nothing_is_missing(conf: Path) -> None:
    """Control: the same words with and without the file differ only in what the file says."""
    plain = from_overrides(["launch=slurm"], conf)
    assert plain.launch.partition is None
    assert from_overrides(["launch=slurm"], cluster(conf, "partition: gpu\n")).launch.partition == "gpu"


def test_a_clusters_settings_do_not_make_a_local_run_a_job(conf: Path, tmp_path: Path) -> None:
    cluster(conf, "partition: gpu\nmemory: 64G\n")
    (tmp_path / "tokenizer.json").touch()
    config = from_overrides([f"model.tokenizer={tmp_path}", f"output_dir={tmp_path}/outputs"], conf)
    assert make(config, Machine()).job is None


def test_a_mistake_in_a_clusters_settings_is_named(conf: Path) -> None:
    cluster(conf, "partitoin: gpu\ntime: [1]\n")
    with pytest.raises(ConfigError) as caught:
        from_overrides(["launch=slurm"], conf)
    assert [complaint.split(":")[0] for complaint in caught.value.complaints] == ["launch.partitoin", "launch.time"]


def test_the_settings_of_a_cluster_are_nobody_elses() -> None:
    ignored = (CONF.parent / ".gitignore").read_text().splitlines()
    assert "conf/local/" in ignored


def test_every_wish_can_be_typed(conf: Path) -> None:
    words = ["launch.extra={licenses: 4, hold: ''}", "launch.setup=[module load cuda/12.4, ulimit -c 0]"]
    launch = from_overrides(["launch=slurm", *words, "launch.time=1-12:00:00", "launch.memory=0"], conf).launch
    assert launch.extra == {"licenses": "4", "hold": ""}
    assert launch.setup == ("module load cuda/12.4", "ulimit -c 0")
    assert (launch.time, launch.memory) == ("1-12:00:00", "0")
    assert isinstance(from_overrides([], conf), RunConfig)
