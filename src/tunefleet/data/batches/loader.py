"""Loader of micro-batches: collates in the training process itself, or in workers that are ahead of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from tunefleet.base import stacks
from tunefleet.base.errors import WorkerFailure
from tunefleet.contracts import MicroBatch
from tunefleet.data.batches import deaf_to_stops
from tunefleet.data.batches.collate import EXACT, Widths, collate
from tunefleet.data.store.dataset import Dataset

_AHEAD = 2  # micro-batches that a worker may be ahead
_NOTICED = 2.0  # seconds until the system tells that a process has died


class Collator(TorchDataset[dict[str, Any]]):
    """A data set of torch whose index is a list of sequence numbers and whose item is their micro-batch."""

    def __init__(self, data: Dataset, pad: int, packed: bool, widths: Widths = EXACT) -> None:
        self._data = data
        self._settings = pad, packed, widths

    def __getitem__(self, numbers: Sequence[int]) -> dict[str, Any]:
        return vars(collate(self._data, numbers, *self._settings))

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker maps the files again: pickling a mapped array would send every byte of it."""
        arrays = {field.name: getattr(self._data, field.name) for field in fields(self._data)}
        mapped = {name: _mapping(array) for name, array in arrays.items() if isinstance(array, np.memmap)}
        absent: dict[str, Any] = dict.fromkeys(mapped)
        unmapped = replace(self._data, examples=[], **absent)
        return _mapped_again, (unmapped, mapped, *self._settings)


def _mapping(array: np.memmap[Any, Any]) -> Callable[[], np.memmap[Any, Any]]:
    """What maps `array` once more."""
    return partial(np.memmap, array.filename, array.dtype, "r", array.offset, array.shape)


def _mapped_again(unmapped: Dataset, mapped: dict[str, Callable[[], Any]], *settings: Any) -> Collator:
    return Collator(replace(unmapped, **{name: read() for name, read in mapped.items()}), *settings)


class Loader:
    """The micro-batches of `batches`, one list of sequence numbers after another, by torch's `DataLoader`.

    With `workers` they are collated ahead in processes. These come from a fork server: a fork of this process, with
    the threads of gloo or NCCL and a CUDA context in it, could deadlock, and a spawned one would import torch anew.
    Without workers a thread collates, and pins, `ahead` micro-batches while the GPU computes.
    """

    def __init__(self, collator: Collator, batches: Iterable[list[int]], workers: int, ahead: int = 0) -> None:
        self._count = workers
        self._yielded = 0
        self._waiting: deque[list[int]] = deque()
        loader = DataLoader(
            collator,
            sampler=_NotedLists(batches, self._waiting),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=_AHEAD if workers else None,
            multiprocessing_context=_fork_server() if workers else None,
            worker_init_fn=_belong_to_training if workers else None,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else each start draws from the random states that a checkpoint restores
        )
        self._iterator, self._workers = _started(loader)
        self._ahead = 0 if workers else ahead
        self._thread = ThreadPoolExecutor(1, "collate", _use_device, (_device(),)) if self._ahead else None
        self._pending: deque[Future[dict[str, Any]]] = deque()

    def next(self) -> MicroBatch:
        """The next micro-batch. Raises `WorkerFailure` where a worker has died."""
        assert self._iterator is not None, "closed"
        try:
            tensors = self._collated() if self._thread else next(self._iterator)
        except (RuntimeError, OSError, EOFError) as error:
            raise self._failure() or error from None
        self._waiting.popleft()
        self._yielded += 1
        return MicroBatch(**tensors)

    def _collated(self) -> dict[str, Any]:
        """What the thread has made, or makes now; then it goes on with the next ones."""
        assert self._thread is not None
        assert self._iterator is not None, "closed"
        while len(self._pending) <= self._ahead:
            self._pending.append(self._thread.submit(next, self._iterator))
        return self._pending.popleft().result()

    @property
    def worker_pids(self) -> list[int]:
        """The worker processes, in the order in which micro-batches are given to them."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    def close(self) -> None:
        """Ends the workers and waits for them; also after an error, whose traceback keeps torch's iterator alive."""
        if self._thread:
            self._thread.shutdown(cancel_futures=True)
        self._iterator = None
        for worker in self._workers:
            worker.kill()
            worker.join()

    def _failure(self) -> WorkerFailure | None:
        """Which worker has died, and with which sequences: torch hands micro-batches to its workers in turn."""
        deadline = time.monotonic() + _NOTICED
        while self._workers and time.monotonic() < deadline:
            for number, worker in enumerate(self._workers):
                if not worker.is_alive():
                    index = (number - self._yielded) % self._count
                    return WorkerFailure(_worker_death_message(worker, list(self._waiting)[index : index + 1]))
            time.sleep(0.1)
        return None


def _device() -> int | None:
    """The GPU of this process."""
    return torch.cuda.current_device() if torch.cuda.is_available() else None


def _use_device(device: int | None) -> None:
    """A new thread would pin memory with the first GPU of all, and take a part of its memory for that."""
    if device is not None:
        torch.cuda.set_device(device)


class _NotedLists:
    """Lists of sequence numbers, noted in `waiting` as they are handed out."""

    def __init__(self, lists: Iterable[list[int]], waiting: deque[list[int]]) -> None:
        self._lists = lists
        self._waiting = waiting

    def __iter__(self) -> Iterator[list[int]]:
        for numbers in self._lists:
            self._waiting.append(numbers)
            yield numbers


def _fork_server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([deaf_to_stops.FORK_SERVER, __name__])  # torch is imported once, not by every worker
    return context


def _started(loader: DataLoader[Any]) -> tuple[Iterator[dict[str, Any]] | None, list[BaseProcess]]:
    """The iterator and its workers, in their order.

    torch would raise from a signal handler when one dies, anywhere in training; without it, `next` raises.
    """
    children, handler = set(multiprocessing.active_children()), signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if loader.num_workers and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, handler)
    workers = set(multiprocessing.active_children()) - children
    return iterator, sorted(workers, key=lambda worker: int(worker.name.rpartition("-")[2]))


def _belong_to_training(worker: int) -> None:
    """A worker ends when its training process has, and not before.

    Ctrl-C and the signals of a cluster reach every process, and training still has a step to finish and to save. A
    fork server lives as long as its workers do, so these would never see the change of parent that torch looks for.
    """
    stacks.answer_to_variable()
    deaf_to_stops.ignore()
    threading.Thread(target=_end_with_training, daemon=True).start()


def _end_with_training() -> None:
    training = multiprocessing.parent_process()
    assert training is not None, "a worker has a parent"
    training.join()
    os._exit(1)


def _worker_death_message(worker: BaseProcess, batches: Sequence[Sequence[int]]) -> str:
    code = worker.exitcode or 0
    ending = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    at = f" at the micro-batch of sequences {', '.join(map(str, batches[0]))}" if batches else ""
    return (
        f"a worker process of the data (pid {worker.pid}) {ending}{at}. "
        "The last checkpoint is whole: the same command resumes from it. With data.workers=0 there are no workers."
    )
