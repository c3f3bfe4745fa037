"""Does a run remember where it comes from, and does it notice what has changed?"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from tests.launch import repositories
from tests.launch.repositories import git
from tunefleet.base.paths import RunPaths
from tunefleet.launch import provenance
from tunefleet.launch.provenance import Provenance, differences, read, record, write

ROOT = Path(__file__).parents[2]
EARLIER = Provenance(
    commit="a" * 40,
    branch="main",
    dirty=False,
    untracked=[],
    python="3.11.2",
    packages={"torch": "2.6.0", "peft": "0.1"},
    host="login",
    user="me",
    command="python train.py",
    time="2026-01-01T00:00:00+00:00",
    snapshot="1" * 16,
)


@pytest.fixture(autouse=True)
def _undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repositories.undisturbed(tmp_path, monkeypatch)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return repositories.committed(tmp_path / "project")


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "run")


def test_a_clean_project(repository: Path) -> None:
    current = record(repository, snapshot="abc")
    assert current.commit == git(repository, "rev-parse", "HEAD").strip()
    assert (current.branch, current.dirty, current.diff, current.untracked, current.snapshot) == (
        "main",
        False,
        "",
        [],
        "abc",
    )


def test_edits_are_a_diff_that_git_applies(repository: Path, paths: RunPaths, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(repository), "clone")
    (repository / "train.py").write_text("print('größer')\r\n")
    (repository / "README.md").unlink()
    (repository / "blob").write_bytes(bytes(range(256)))
    git(repository, "add", "blob")
    current = record(repository)
    assert current.dirty
    write(paths.provenance, current)
    git(tmp_path / "clone", "apply", str(paths.diff))
    assert (tmp_path / "clone" / "train.py").read_bytes() == "print('größer')\r\n".encode()
    assert (tmp_path / "clone" / "blob").read_bytes() == bytes(range(256))
    assert not (tmp_path / "clone" / "README.md").exists()
    assert read(paths.provenance) == current


def test_neither_the_diff_nor_the_command_holds_a_secret(
    repository: Path, paths: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file of secrets that git tracks, of a key that an edit adds, of the environment, and of what was typed."""
    (repository / ".env").write_text("HF_TOKEN=canary-tracked\n")
    (repository / "train.py").write_text("token = tokens[0]\nAPI_KEY = 'canary-key'\nURL = 'https://a:canary-url@b'\n")
    (repository / "conf" / "train.yaml").write_text("password: canary-yaml\nlr: 3\nx: canary-of-the-environment\n")
    git(repository, "add", ".")
    monkeypatch.setenv("SLURM_JWT", "canary-of-the-environment")
    monkeypatch.setattr(sys, "orig_argv", ["train.py", "+hub.token=canary-typed", "lr=3"])
    write(paths.provenance, record(repository))
    texts = "".join(path.read_text() for path in paths.root.iterdir())
    assert "canary" not in texts
    assert "train.py +hub.token=*** lr=3" in texts.replace("'", "")
    assert "+token = tokens[0]\n+API_KEY = '***'\n" in texts
    assert "+password: ***\n+lr: 3\n+x: ***\n" in texts
    git(tmp_path, "clone", "--quiet", str(repository), "clone")
    git(tmp_path / "clone", "apply", str(paths.diff))  # added lines only: it still applies
    assert (tmp_path / "clone" / "conf" / "train.yaml").read_text() == "password: ***\nlr: 3\nx: ***\n"


def test_untracked_files_are_named_and_folders_once(repository: Path) -> None:
    (repository / "new name.py").touch()
    (repository / "notes").mkdir()
    (repository / "notes" / "a").touch()
    (repository / "notes" / "b").touch()
    (repository / "train.log").touch()
    current = record(repository)
    assert current.untracked == ["new name.py", "notes/"]
    assert not current.dirty


def test_the_persons_own_settings_do_not_change_the_diff(repository: Path) -> None:
    (repository / "train.py").write_text("x\n")
    plain = record(repository).diff
    settings = {"color.ui": "always", "diff.noprefix": "true", "diff.external": "false", "diff.mnemonicPrefix": "true"}
    for name, value in settings.items():
        git(repository, "config", name, value)
    assert record(repository).diff == plain


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--detach")
    current = record(repository)
    assert current.branch == ""
    assert len(current.commit) == 40


@pytest.mark.parametrize("kind", ["no repository", "no git", "no commit", "repository around"])
def test_where_git_knows_nothing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    if kind == "repository around":  # as for code that was installed, or copied, below a repository
        repositories.committed(tmp_path / "outer")
        folder = tmp_path / "outer" / "outputs" / "snapshot"
    repositories.project(folder) if kind != "no git" else repositories.committed(folder)
    if kind == "no commit":
        git(folder, "init", "--quiet")
    if kind == "no git":
        monkeypatch.setenv("PATH", "/nowhere")
    current = record(folder)
    assert (current.commit, current.dirty, current.diff) == ("", False, "")
    assert current.python


def test_versions_are_the_installed_ones(repository: Path) -> None:
    current = record(repository)
    assert current.packages["torch"] == metadata.version("torch")
    assert current.packages["deepspeed"] == metadata.version("deepspeed")
    assert "flash-attn" not in current.packages or metadata.version("flash-attn")
    assert current.python == ".".join(map(str, sys.version_info[:3]))


def test_who_and_how(repository: Path) -> None:
    code = "import sys, pathlib; from tunefleet.launch.provenance import record\n"
    code += "now = record(pathlib.Path(sys.argv[1])); print(now.command); print(now.user); print(now.host)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "LOGNAME": "somebody"}
    command = [sys.executable, "-c", code, str(repository), "name=a b"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "'name=a b'" in done.stdout
    assert done.stdout.splitlines()[-2] == "somebody"


def test_a_user_without_a_name(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(provenance.getpass, "getuser", unknown)
    assert record(repository).user == str(os.getuid())


def test_a_diff_goes_away_with_the_edits(repository: Path, paths: RunPaths) -> None:
    (repository / "train.py").write_text("x\n")
    write(paths.provenance, record(repository))
    assert paths.diff.exists()
    git(repository, "checkout", "--quiet", "train.py")
    write(paths.provenance, record(repository))
    assert not paths.diff.exists()


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"dirty": false}', "\udcff"])
def test_what_cannot_be_read_is_none(paths: RunPaths, text: str | None) -> None:
    paths.root.mkdir()
    if text is not None:
        paths.provenance.write_text(text, errors="surrogateescape")
    assert read(paths.provenance) is None


def test_a_field_of_a_later_version_is_passed_over(paths: RunPaths) -> None:
    write(paths.provenance, EARLIER)
    paths.provenance.write_text(paths.provenance.read_text().replace("{", '{"later": 1,', 1))
    assert read(paths.provenance) == EARLIER


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, []),
        ({"host": "n1", "user": "you", "time": "later", "command": "other", "branch": "b"}, []),
        ({"commit": "b" * 40}, ["commit: aaaaaaa then, bbbbbbb now"]),
        ({"commit": ""}, ["commit: aaaaaaa then, unknown now"]),
        ({"python": "3.12.1"}, ["Python: 3.11.2 then, 3.12.1 now"]),
        (
            {"packages": {"torch": "2.7.1", "wandb": "0.20"}},
            ["torch: 2.6.0 then, 2.7.1 now", "peft: 0.1 then, absent now", "wandb: absent then, 0.20 now"],
        ),
        ({"snapshot": "2" * 16}, ["snapshot: 1111111111111111 then, 2222222222222222 now"]),
        ({"snapshot": ""}, []),
    ],
)
def test_differences_are_a_line_each(changes: dict[str, object], lines: list[str]) -> None:
    assert differences(EARLIER, replace(EARLIER, **changes)) == lines


def test_edits_differ(repository: Path) -> None:
    clean = record(repository)
    (repository / "train.py").write_text("x\n")
    first = record(repository)
    (repository / "train.py").write_text("y\n")
    second = record(repository)
    assert differences(first, first) == []
    assert [line.split(" (")[0] for line in differences(clean, first)] == [
        "uncommitted edits: none then, a diff of 7 lines"
    ]
    assert len(differences(first, second)) == 1


def test_nothing_heavy_is_imported(repository: Path) -> None:
    code = "import sys, pathlib; from tunefleet.launch.provenance import record; record(pathlib.Path(sys.argv[1]))\n"
    code += "print({'torch', 'numpy', 'omegaconf', 'hydra', 'transformers'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", code, str(repository)]
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout == "set()\n"
