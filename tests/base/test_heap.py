"""Heap: what a process frees stays with it."""

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
from tunefleet.base import heap
if sys.argv[1] == "keep":
    assert heap.keep_freed_memory()
import torch
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(2**22) for _ in range(15)]  # 16 MiB each
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(3):
    faults()
print(faults())
"""


def _faults(way: str) -> int:
    """Page faults of a process that asks for 240 MiB again."""
    result = subprocess.run([sys.executable, "-c", _FAULTS, way], capture_output=True, text=True, check=True)
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_memory_that_was_freed_is_not_faulted_in_again() -> None:
    assert _faults("keep") < 200
    assert _faults("as it is") > 2_000  # of 61,440 pages
