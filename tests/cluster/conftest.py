"""Which real clusters do the tests share?"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import slurm
from tests.cluster.commands import Desk
from tests.cluster.slurm import Cluster
from tests.ranks import ROOT


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A SLURM of two nodes that remembers ended jobs for five minutes."""
    with _cluster(accounting=False) as running:
        yield running


@pytest.fixture(scope="session")
def accounted() -> Iterator[Cluster]:
    """A SLURM of two nodes where `sacct` works."""
    with _cluster(accounting=True) as running:
        yield running


@pytest.fixture
def desk(cluster: Cluster, tmp_path: Path) -> Desk:
    """A person at the cluster without accounting, in an empty folder."""
    return Desk(tmp_path, cluster)


@pytest.fixture
def copied(desk: Desk) -> Desk:
    """The same person with a copy of the project that may be edited."""
    code = desk.folder / "project"
    for part in ("src", "conf"):
        shutil.copytree(ROOT / part, code / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", code)
    return Desk(desk.folder, desk.cluster, {"PYTHONPATH": str(code / "src")}, code)


@pytest.fixture(autouse=True)
def _clear(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in {"cluster", "accounted"} & set(request.fixturenames):
        request.getfixturevalue(name).clear()


@contextlib.contextmanager
def _cluster(accounting: bool) -> Iterator[Cluster]:
    if reason := slurm.missing(accounting):
        pytest.skip(reason)
    short = tempfile.TemporaryDirectory(prefix="tf-", dir="/tmp")  # for paths of sockets have a limit
    with short as folder, slurm.start(Path(folder), accounting) as running:
        yield running
