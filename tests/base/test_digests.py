"""Is every change of a file noticed, and is no large file read twice without a need?"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import pytest

from tunefleet.base import digests
from tunefleet.base.errors import DataError


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(digests, "LARGE", 10)
    path = tmp_path / "large.jsonl"
    path.write_text("x" * 100)
    return path


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise AssertionError("read again")

    monkeypatch.setattr(digests, "file_digest", refuse)


def test_a_large_file_is_read_once(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SETTLED", 0.0)
    time.sleep(0.05)
    first = digests.digest(large, tmp_path / "memory")
    with monkeypatch.context() as patched:
        forbid_reading(patched)
        assert digests.digest(large, tmp_path / "memory") == first
        with pytest.raises(AssertionError, match="read again"):  # control
            digests.digest(large)
    large.write_text("y" * 100)
    assert digests.digest(large, tmp_path / "memory") != first


def test_a_file_that_changed_a_moment_ago_is_not_remembered(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests.digest(large, tmp_path / "memory")
    forbid_reading(monkeypatch)
    with pytest.raises(AssertionError, match="read again"):
        digests.digest(large, tmp_path / "memory")


def test_a_broken_note_is_no_note(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SETTLED", 0.0)
    time.sleep(0.05)
    first = digests.digest(large, tmp_path / "memory")
    [note] = (tmp_path / "memory").glob("*.json")
    for content in ("", "[]", '{"state": 1}', json.dumps({**json.loads(note.read_text()), "sha256": "zz"})):
        note.write_text(content)
        assert digests.digest(large, tmp_path / "memory") == first


def test_the_digest_is_the_sha256_of_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert digests.digest(path).hex() == known
    assert digests.sampled(path).hex() == known


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: cannot be read: No such file or directory\."):
        digests.digest(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        digests.sampled(tmp_path)


def test_ranks_that_ask_together_read_a_file_once(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SETTLED", 0.0)
    time.sleep(0.05)
    reads: list[Path] = []

    def slowly(path: Path) -> bytes:
        reads.append(path)
        time.sleep(0.2)
        return hashlib.sha256(path.read_bytes()).digest()

    monkeypatch.setattr(digests, "file_digest", slowly)
    together = [threading.Thread(target=digests.digest, args=(large, tmp_path / "memory")) for _ in range(4)]
    for one in together:
        one.start()
    for one in together:
        one.join()
    assert reads == [large]
    threads = [threading.Thread(target=digests.digest, args=(large, None)) for _ in range(4)]  # control: no memory
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(reads) == 5


def test_a_memory_that_cannot_be_written_costs_time_alone(large: Path, tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("a file")
    assert digests.digest(large, tmp_path / "memory") == hashlib.sha256(large.read_bytes()).digest()


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of weights above 1,000 bytes are huge, and 16 pieces of 10 bytes are read of them."""
    monkeypatch.setattr(digests, "SAMPLED", 1_000)
    monkeypatch.setattr(digests, "PIECE", 10)
    path = tmp_path / "model.safetensors"
    path.write_bytes(os.urandom(5_000))
    return path


def changed(path: Path, place: int) -> bytes:
    """The sample of `path` with another byte at `place`."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    return digests.sampled(path)


def test_of_huge_weights_the_size_and_pieces_from_end_to_end_count(weights: Path) -> None:
    first = digests.sampled(weights)
    for place in (0, 9, -1, -10, 4_990 // 15, 7 * 4_990 // 15 + 9):
        assert changed(weights, place) != first
        assert changed(weights, place) == first
    assert changed(weights, 20) == first  # between two pieces: what docs/runs.md says is not noticed
    weights.write_bytes(weights.read_bytes()[:-1])
    assert digests.sampled(weights) != first


def test_control_small_weights_are_read_whole(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:1_000])
    first = digests.sampled(weights)
    assert changed(weights, 20) != first
