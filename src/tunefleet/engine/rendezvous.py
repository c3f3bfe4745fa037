"""Rendezvous: where the ranks of a run meet; those of one machine meet where no other machine can reach them."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import MutableMapping
from datetime import timedelta

from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

_LOOPBACK = "lo"  # as Linux calls it
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")  # where gloo and NCCL listen for the other ranks


def stay_on_loopback(environment: MutableMapping[str, str], backend: str, limit: timedelta) -> None:
    """Joins torch's default group over the loopback interface alone, where MASTER_ADDR is on it; else does nothing.

    torch's own store listens on every interface whatever MASTER_ADDR is, and anybody who reaches its port may read and
    set its keys. A socket of ours, bound to that address, takes its place; under torchrun the store is torchrun's.
    """
    address = environment.get("MASTER_ADDR", "")
    if not is_loopback(address) or distributed.is_initialized():  # a process that trains again stays in its group
        return
    if os.path.exists(f"/sys/class/net/{_LOOPBACK}"):
        for name in _INTERFACES:
            environment.setdefault(name, _LOOPBACK)
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return
    rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    store = _store(address, int(environment["MASTER_PORT"]), rank, size, limit)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)


def is_loopback(address: str) -> bool:
    """Whether an address or a name is of this machine's own loopback interface."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _store(address: str, port: int, rank: int, size: int, limit: timedelta) -> TCPStore:
    """Rank 0 listens, on `address` alone."""
    if rank:
        return TCPStore(address, port, size, False, timeout=limit)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family, backlog=max(size, 128))
    return TCPStore(address, port, size, True, timeout=limit, master_listen_fd=listener.detach())
