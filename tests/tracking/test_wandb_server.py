"""Does a run go online where there is a key for its server, and is the reason said where it cannot?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.wandb_servers import answering, dead_port
from tunefleet.config.tracking import WandbMode
from tunefleet.tracking import wandb_server
from tunefleet.tracking.wandb_server import mode


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_CONFIG_DIR", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def key(path: Path, host: str = "api.wandb.ai") -> None:
    path.write_text(f"machine {host} login user password key\n")
    path.chmod(0o600)


def test_without_a_key_it_is_offline_and_with_one_online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert mode(WandbMode.AUTO) == "offline"
    key(tmp_path / ".netrc")
    assert mode(WandbMode.AUTO) == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert mode(WandbMode.AUTO) == "disabled"
    assert mode(WandbMode.OFFLINE) == "offline"


def test_wandbs_own_names_of_the_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    for typed, mode_name in (("run", "online"), ("dryrun", "offline"), ("online", "online")):
        monkeypatch.setenv("WANDB_MODE", typed)
        assert mode(WandbMode.AUTO) == mode_name


def test_a_key_in_the_environment_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert mode(WandbMode.AUTO) == "online"


def test_a_key_in_another_netrc_is_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key(tmp_path / "elsewhere")
    monkeypatch.setenv("NETRC", str(tmp_path / "elsewhere"))
    assert mode(WandbMode.AUTO) == "online"


@pytest.mark.parametrize("by_login", [True, False])
def test_a_key_for_a_server_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by_login: bool) -> None:
    """`wandb login --host=...` writes the server into a file and its key into netrc."""
    key(tmp_path / ".netrc", "wandb.example.org")
    assert mode(WandbMode.AUTO) == "offline"  # that key is not for the public server
    if by_login:
        (tmp_path / ".config" / "wandb").mkdir(parents=True)
        (tmp_path / ".config" / "wandb" / "settings").write_text("[default]\nbase_url = https://wandb.example.org\n")
    else:
        monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org/")
    assert wandb_server.address() == "https://wandb.example.org"
    assert mode(WandbMode.AUTO) == "online"


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[int, str]]:
    servers = {code: answering(code) for code in (200, 401, 404, 500)}
    yield {code: f"http://127.0.0.1:{server.server_port}" for code, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("code", [200, 401, 404, 500])
def test_any_answer_is_an_answer(monkeypatch: pytest.MonkeyPatch, servers: dict[int, str], code: int) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "key")
    monkeypatch.setenv("WANDB_BASE_URL", servers[code])
    assert wandb_server.obstacle() == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_no_answer_is_said_with_the_address(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "key")
    monkeypatch.setenv("WANDB_BASE_URL", f"http://{host}:{dead_port()}")
    assert wandb_server.obstacle().startswith(f"http://{host}:")
    assert "does not answer (" in wandb_server.obstacle()


def test_online_without_a_key_asks_nobody_for_one() -> None:
    """wandb would ask at the terminal, from a thread, and wait."""
    assert wandb_server.obstacle() == "there is no key (wandb login makes one)"
