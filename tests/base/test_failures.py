"""Is every trouble called by its name, and does the rank that began it take the blame?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefleet.base import failures
from tunefleet.base.errors import (
    ConfigError,
    DataError,
    LossSpike,
    NonFiniteLoss,
    RankFailure,
    ReplicaDrift,
    RunError,
)
from tunefleet.base.failures import Failure, cause_of
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause


class OutOfMemoryError(RuntimeError):
    """As torch's own."""


class DistBackendError(RuntimeError):
    """As torch's own."""


TEXTS: list[tuple[BaseException, Cause]] = [
    (
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity"),
        Cause.OUT_OF_MEMORY,
    ),
    (RuntimeError("CUDA error: out of memory"), Cause.OUT_OF_MEMORY),
    (
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried to allocate"
        ),
        Cause.OUT_OF_MEMORY,
    ),
    (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: Error code 12 (Cannot allocate memory)"),
        Cause.OUT_OF_MEMORY,
    ),
    (OSError(12, "Cannot allocate memory"), Cause.OUT_OF_MEMORY),
    (MemoryError(), Cause.OUT_OF_MEMORY),
    (
        RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:31415"),
        Cause.LOST_PEER,
    ),
    (ConnectionResetError(104, "Connection reset by peer"), Cause.LOST_PEER),
    (BrokenPipeError(32, "Broken pipe"), Cause.LOST_PEER),
    (
        DistBackendError(
            "NCCL error in: ProcessGroupNCCL.cpp:1691, remote process exited or there was a network error"
        ),
        Cause.LOST_PEER,
    ),
    (
        DistBackendError("[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7) ran for 600000 ms"),
        Cause.LOST_PEER,
    ),
    (
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        Cause.OUT_OF_MEMORY,
    ),
    (
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        Cause.OUT_OF_MEMORY,
    ),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), Cause.OUT_OF_MEMORY),
    (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), Cause.NODE_FAILURE),
    (
        DistBackendError(
            "NCCL error in: NCCLUtils.cpp:77, invalid usage (run with NCCL_DEBUG=WARN for details)\n"
            "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\n"
            "Last error: Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000"
        ),
        Cause.ERROR,
    ),
    (
        DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:3690, unhandled cuda error, NCCL version 2.27.5"),
        Cause.ERROR,
    ),
    (RuntimeError("CUDA error: uncorrectable ECC error encountered"), Cause.NODE_FAILURE),
    (RuntimeError("CUDA error: unspecified launch failure"), Cause.NODE_FAILURE),
    (OSError(116, "Stale file handle"), Cause.NODE_FAILURE),
    (RuntimeError("CUDA error: device-side assert triggered"), Cause.ERROR),  # an index out of range: the same anywhere
    (OSError(28, "No space left on device"), Cause.DISK),
    (ValueError("shapes do not fit"), Cause.ERROR),
    (KeyboardInterrupt(), Cause.ERROR),
    (RankFailure("rank 1 ended"), Cause.ERROR),
    (NonFiniteLoss("loss is nan at step 3"), Cause.NON_FINITE),
    (NonFiniteLoss("out of memory"), Cause.NON_FINITE),  # what the error is goes before what it says
    (LossSpike("the loss spiked to nan"), Cause.SPIKE),
    (ReplicaDrift("rank 1: NCCL"), Cause.DRIFT),
    (ConfigError("train.lr"), Cause.USER_ERROR),
    (DataError("NCCL.jsonl:3: out of memory"), Cause.USER_ERROR),
    (RunError("damaged"), Cause.USER_ERROR),
]


@pytest.mark.parametrize(("error", "cause"), TEXTS, ids=lambda value: str(value)[:40])
def test_the_cause_of_an_error(error: BaseException, cause: Cause) -> None:
    assert cause_of(error) is cause


def failure(rank: int, cause: Cause) -> Failure:
    return Failure(rank, f"trouble {rank}", cause, 1)


@pytest.mark.parametrize(
    ("causes", "blamed"),
    [
        ([Cause.ERROR], 0),
        ([Cause.LOST_PEER], 0),
        ([Cause.LOST_PEER, Cause.OUT_OF_MEMORY], 1),
        ([Cause.LOST_PEER, Cause.LOST_PEER, Cause.USER_ERROR, Cause.ERROR], 2),
        ([Cause.ERROR, Cause.OUT_OF_MEMORY], 0),
        ([Cause.LOST_PEER, Cause.LOST_PEER], 0),
    ],
)
def test_who_only_lost_another_process_is_blamed_last(causes: list[Cause], blamed: int) -> None:
    first = failures.first([failure(rank, cause) for rank, cause in enumerate(causes)])
    assert first
    assert first.rank == blamed


def test_nobody_is_blamed_where_nobody_failed() -> None:
    assert failures.first([]) is None


def test_a_failure_survives_its_file_with_its_traceback(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    try:
        raise ValueError("na\u00efve\nin two lines")
    except ValueError as error:
        before = Failure.from_error(11, error)
    failures.write(paths, before)
    failures.write(paths, failure(2, Cause.LOST_PEER))
    assert failures.read_all(paths) == [failure(2, Cause.LOST_PEER), before]  # by number, not by name
    assert before.message.startswith("ValueError: na")
    assert "in test_a_failure_survives_its_file" in before.traceback


def test_an_error_of_ours_is_told_without_the_name_of_its_class() -> None:
    assert Failure.from_error(0, DataError("rows.jsonl:3: no answer")).message == "rows.jsonl:3: no answer"


@pytest.mark.parametrize(
    "content",
    [b"", b'{"rank": 0, "mess', b"[]", b"null", b"7", b"{}", b"\xff\xfe\x00", b'{"rank": 0, "cause": "cosmic ray"}'],
)
def test_a_damaged_file_is_nothing_and_hides_no_other(tmp_path: Path, content: bytes) -> None:
    paths = RunPaths(tmp_path)
    failures.write(paths, failure(1, Cause.ERROR))
    paths.failure(0).write_bytes(content)
    assert failures.read(paths.failure(0)) is None
    assert failures.read_all(paths) == [failure(1, Cause.ERROR)]


def test_clearing_forgets_every_rank_and_no_log(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    failures.clear(paths)  # nothing there yet
    failures.write(paths, failure(0, Cause.ERROR))
    failures.write(paths, failure(12, Cause.ERROR))
    paths.log(0).touch()
    failures.clear(paths)
    assert failures.read_all(paths) == []
    assert paths.log(0).exists()
