"""Is a run that was planned for other hardware than is there refused before its first step?"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.base.errors import RunError
from tunefleet.config import RunConfig
from tunefleet.config.load import dump, load
from tunefleet.config.parallel import ParallelConfig
from tunefleet.config.train import Precision
from tunefleet.engine import hardware_check
from tunefleet.engine.hardware_check import Hardware, device_index, misfits, slower
from tunefleet.plan import Plan
from tunefleet.plan.plan import Expected

H100 = Hardware("node7", gpus=8, gpu_name="H100", gpu_memory=79.1, driver="550.54", torch_cuda="12.4", cores=8)
NONE = Hardware("node7", driver="550.54", torch_cuda="12.4", host_memory=64.0, cores=8)


def planned(folder: Path, device: str = "cuda", ranks: int = 8, **settings: Any) -> Plan:
    """As a machine with GPUs would plan it."""
    plan = tiny_plan(folder, ranks=ranks, **settings)
    return replace(plan, layout=replace(plan.layout, device=device), expected=Expected(40.0, None))


def of(**settings: str) -> dict[str, str]:
    return {"WORLD_SIZE": "8", "LOCAL_RANK": "3", "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7", **settings}


@pytest.mark.parametrize(
    ("local_rank", "gpus", "expected"),
    [(0, 8, 0), (7, 8, 7), (0, 1, 0), (5, 1, 0), (8, 8, None), (2, 2, None), (0, 0, None), (3, 0, None)],
)
def test_which_gpu_a_process_takes(local_rank: int, gpus: int, expected: int | None) -> None:
    """Its own number; the only one that it sees, where each task sees one; none, where there are fewer than ranks."""
    assert device_index(local_rank, gpus) == expected


def test_what_is_as_planned_is_let_through(tmp_path: Path) -> None:
    assert misfits(planned(tmp_path), H100, of()) == []
    assert misfits(planned(tmp_path), replace(H100, gpus=1), of()) == []  # one GPU visible for each task
    assert misfits(planned(tmp_path, "cpu", ranks=1), NONE, {}) == []


def test_no_gpu_where_gpus_are_planned(tmp_path: Path) -> None:
    (complaint,) = misfits(planned(tmp_path), NONE, of(CUDA_VISIBLE_DEVICES="GPU-1"))
    for word in ("node7", "torch sees none", "Driver 550.54", "CUDA_VISIBLE_DEVICES=GPU-1", "for CUDA 12.4"):
        assert word in complaint
    without = {key: value for key, value in of().items() if key != "CUDA_VISIBLE_DEVICES"}
    (complaint,) = misfits(planned(tmp_path), replace(NONE, driver="none", torch_cuda=Hardware.torch_cuda), without)
    assert "Driver none, CUDA_VISIBLE_DEVICES=(not set)" in complaint
    assert "a build for CPUs" in complaint


def test_a_rank_without_a_gpu_of_its_own(tmp_path: Path) -> None:
    (complaint,) = misfits(planned(tmp_path), replace(H100, gpus=2), of(CUDA_VISIBLE_DEVICES="0,1"))
    assert "torch sees 2, and this process is number 3 of its host: LOCAL_RANK=3" in complaint


OTHER: dict[str, tuple[Hardware, dict[str, Any], dict[str, str], str]] = {
    "too small": (replace(H100, gpu_name="A100", gpu_memory=39.0), {}, {}, "needs 40.0 GiB and its A100 has 39.0"),
    "no bf16": (replace(H100, gpu_name="V100", bf16=False), {"precision": "bf16"}, {}, "V100 does not compute with it"),
    "processes": (H100, {}, {"WORLD_SIZE": "4"}, "4 processes were started and 8 are planned"),
}


@pytest.mark.parametrize("case", OTHER)
def test_other_hardware_than_planned(tmp_path: Path, case: str) -> None:
    there, settings, changed, complaint = OTHER[case]
    (found,) = misfits(planned(tmp_path, **settings), there, of(**changed))
    assert complaint in found
    assert found.startswith("node7: ")
    assert misfits(planned(tmp_path, **settings), H100, of()) == []  # the control


def test_zeropp_sees_every_gpu_of_its_machine(tmp_path: Path) -> None:
    """DeepSpeed counts the GPUs that a process sees, and would end with an assertion, or sum over a group of one."""
    zeropp = {"name": "zeropp", "zero_stage": 3, "quantized_gradients": True}
    plan = replace(planned(tmp_path), config=replace(planned(tmp_path).config, parallel=ParallelConfig(**zeropp)))
    assert misfits(plan, H100, of()) == []
    (complaint,) = misfits(plan, replace(H100, gpus=1), of())
    assert (
        "zeropp needs every process to see the GPUs of all 8 processes of its machine, and this one sees 1" in complaint
    )


def test_a_gpu_for_which_deepspeed_has_no_fp16(tmp_path: Path) -> None:
    """Stage 0 autocasts without DeepSpeed. A GPU that lacks bf16 too is not sent from one to the other."""
    p100 = replace(H100, gpu_name="P100", bf16=False, fp16=False)
    plan = planned(tmp_path, stage=2, precision="bf16")
    assert "Use train.precision=fp32, or another GPU" in misfits(plan, p100, of())[0]
    fp16 = replace(plan, config=replace(plan.config, train=replace(plan.config.train, precision=Precision.FP16)))
    (complaint,) = misfits(fp16, p100, of())
    assert "fp16 is planned and DeepSpeed has none for P100" in complaint
    assert misfits(fp16, H100, of()) == []
    assert misfits(planned(tmp_path, precision="fp16"), p100, of()) == []


def test_a_host_whose_memory_is_too_small_for_all_its_processes(tmp_path: Path) -> None:
    plan = planned(tmp_path, "cpu", ranks=2)
    (complaint,) = misfits(plan, NONE, {"WORLD_SIZE": "2"})
    assert "needs 80.0 GiB and the host has 64.0" in complaint
    forced = replace(plan.config, plan=replace(plan.config.plan, force=True))
    assert misfits(replace(plan, config=forced), NONE, {"WORLD_SIZE": "2"}) == []


def test_a_drive_that_cannot_be_written(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    (tmp_path / "file").touch()

    def on(folder: Path) -> list[str]:
        nvme = {"offload_optimizer": "nvme", "nvme_path": str(folder)}
        values = dump(plan.config)
        config = load(RunConfig, {**values, "parallel": {**values["parallel"], **nvme}})
        return misfits(replace(plan, config=config), H100, of())

    assert on(tmp_path / "new" / "folder") == []
    (complaint,) = on(tmp_path / "file" / "folder")
    assert "parallel.nvme_path" in complaint


def test_fewer_cores_are_said_and_no_reason_to_stop(tmp_path: Path) -> None:
    plan = replace(planned(tmp_path), threads=16)
    assert slower(plan, H100) == ["each process was planned with 16 CPU threads, and node7 gives it 8 cores."]
    assert slower(replace(plan, threads=8), H100) == []


def test_the_rank_takes_the_gpu_that_it_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed reads LOCAL_RANK too."""
    for name, value in of(LOCAL_RANK="5", RANK="5").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(hardware_check, "hardware_of", lambda index: replace(H100, gpus=1))
    monkeypatch.setattr(hardware_check.torch.cuda, "device_count", lambda: 1)
    hardware_check.expect_planned(planned(tmp_path))
    assert os.environ["LOCAL_RANK"] == "0"


def test_what_mpirun_says_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed ends where LOCAL_RANK and mpirun's number differ."""
    environment = {"LOCAL_RANK": "5", "OMPI_COMM_WORLD_LOCAL_RANK": "5"}
    hardware_check.take_device(environment, 0)
    assert environment == {"LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
    environment = {"LOCAL_RANK": "5"}
    hardware_check.take_device(environment, 0)
    assert environment == {"LOCAL_RANK": "0"}


def test_here_without_gpus_a_run_for_gpus_fails_before_anything_is_read(tmp_path: Path) -> None:
    """What torch itself says on this machine, from the door of a rank: exit 2, one line, no step."""
    if hardware_check.torch.cuda.is_available():
        pytest.skip("this machine has GPUs")
    plan = planned(tmp_path, ranks=1)
    plan.save()
    done = subprocess.run(
        [sys.executable, "-m", "tunefleet.doors.rank", plan.run_dir],
        env={**os.environ, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "CUDA_VISIBLE_DEVICES": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "the run is planned for GPUs, and torch sees none" in done.stderr
    assert "Traceback" not in done.stderr
    assert not plan.paths.metrics.exists()


def test_a_plan_for_cpus_fits_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    hardware_check.expect_planned(tiny_plan(tmp_path))
    with pytest.raises(RunError, match="2 are planned"):
        hardware_check.expect_planned(tiny_plan(tmp_path, ranks=2))
