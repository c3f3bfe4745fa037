"""Does a snapshot hold exactly the project's code, and does nothing change it afterwards?"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch import repositories
from tests.launch.repositories import git
from tunefleet.base.errors import DiskError, RunError
from tunefleet.launch import project, snapshot
from tunefleet.launch.snapshot import take

ROOT = Path(__file__).parents[2]
TAKE = "import sys, pathlib\nfrom tunefleet.launch.snapshot import take\n"
TAKE += "print(take(*map(pathlib.Path, sys.argv[1:])).digest)"
PROBE = "import tunefleet.launch.snapshot, tunefleet; print(tunefleet.__file__)"


@pytest.fixture(autouse=True)
def _undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repositories.undisturbed(tmp_path, monkeypatch)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return repositories.committed(tmp_path / "project")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / "snapshots"


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def python(code: str, *words: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path or ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


FILES = {".gitignore", "README.md", "conf/train.yaml", "train.py", "src/tunefleet/__init__.py"}
FILES |= {"src/tunefleet/launch/deep.py"}


# What is copied


def test_holds_what_git_tracks_and_of_what_it_does_not_what_is_asked_for(repository: Path, store: Path) -> None:
    (repository / "src/tunefleet/new.py").write_text("NEW = 1\n")
    (repository / "notes.txt").write_text("private")
    (repository / "train.log").write_text("ignored")
    (repository / "outputs").mkdir()
    (repository / "outputs" / "weights").write_text("ignored")
    (repository / "README.md").unlink()
    assert names(take(repository, store).folder) == FILES - {"README.md"}
    assert project.left_out(repository) == [Path("src/tunefleet/new.py")]
    code_copy = take(repository, store, ["src"])
    assert project.left_out(repository, ["src"]) == []
    assert names(code_copy.folder) == (FILES | {"src/tunefleet/new.py"}) - {"README.md"}
    assert code_copy.folder == store / code_copy.digest
    assert len(code_copy.digest) == 16
    assert code_copy.python_path == code_copy.folder / "src"


def test_holds_the_cluster_s_own_settings_although_git_ignores_them(repository: Path, store: Path) -> None:
    """The last act of a sweep's job composes with them, and submits other jobs."""
    (repository / ".gitignore").write_text("outputs/\nconf/local/\n")
    (repository / "conf" / "local").mkdir()
    (repository / "conf" / "local" / "cluster.yaml").write_text("partition: ours\n")
    (repository / "conf" / "local" / "notes.txt").write_text("ignored")
    assert {name for name in names(take(repository, store).folder) if "local" in name} == {"conf/local/cluster.yaml"}


def test_holds_settings_that_git_does_not_track_unless_they_hold_a_secret(repository: Path, store: Path) -> None:
    (repository / "conf" / "mine.yaml").write_text("lr: 1e-4\n")
    (repository / "conf" / "notes.txt").write_text("private")
    (repository / "conf" / "hub.yaml").write_text("hub_token: canary-5f3a\n")
    assert {name for name in names(take(repository, store).folder) if "conf" in name} == {
        "conf/train.yaml",
        "conf/mine.yaml",
    }


@pytest.mark.parametrize("name", [".env", ".env.local", "deep/id_ed25519", "server.PEM", ".netrc", "src/.env"])
@pytest.mark.parametrize("tracked", [True, False])
def test_files_of_secrets_are_never_copied(repository: Path, store: Path, name: str, tracked: bool) -> None:
    (repository / "deep").mkdir()
    for path in (name, ".env.example"):
        (repository / path).write_text("x")
    git(repository, "add", ".env.example", *([name] if tracked else []))
    assert names(take(repository, store, ["*"]).folder) == FILES | {".env.example"}


def test_no_file_is_readable_to_more_people_than_it_was(repository: Path, store: Path) -> None:
    (repository / "train.py").chmod(0o600)
    (repository / "README.md").chmod(0o640)
    code_copy = take(repository, store)
    modes = {name: (code_copy.folder / name).stat().st_mode & 0o777 for name in ("train.py", "README.md")}
    assert modes == {"train.py": 0o400, "README.md": 0o440}
    inode = (code_copy.folder / "train.py").stat().st_ino
    (repository / "train.py").chmod(0o644)
    assert take(repository, store) == code_copy  # modes are no content
    assert (code_copy.folder / "train.py").stat().st_ino == inode


def test_what_a_job_takes_is_its_own_snapshot(repository: Path, store: Path) -> None:
    first = take(repository, store)
    assert take(first.folder, store) == first


def test_holds_the_sweeps_that_conf_has_a_link_to(store: Path, tmp_path: Path) -> None:
    for repository in (ROOT, tmp_path / "copy"):
        if repository != ROOT:  # without git
            for part in ("src", "conf", "sweeps"):
                shutil.copytree(ROOT / part, repository / part, symlinks=True)
        files = project.sources(repository, store)
        assert files[Path("conf/sweeps")].is_symlink()
        assert files[Path("sweeps/lr_grid.yaml")].is_file()


def test_holds_edits_that_are_not_committed(repository: Path, store: Path) -> None:
    (repository / "src/tunefleet/__init__.py").write_text("VALUE = 2\n")
    assert (take(repository, store).python_path / "tunefleet/__init__.py").read_text() == "VALUE = 2\n"


def test_keeps_executable_bits_and_links(repository: Path, store: Path) -> None:
    (repository / "train.py").chmod(0o755)
    (repository / "link.py").symlink_to("train.py")
    (repository / "folder").symlink_to("conf")
    (repository / "nowhere").symlink_to("/not/there")
    folder = take(repository, store, ["*"]).folder
    assert os.access(folder / "train.py", os.X_OK)
    assert not (folder / "README.md").stat().st_mode & 0o111
    assert [os.readlink(folder / name) for name in ("link.py", "folder", "nowhere")] == [
        "train.py",
        "conf",
        "/not/there",
    ]


def test_never_writes_through_a_link(repository: Path, store: Path, tmp_path: Path) -> None:
    """`conf` is tracked as a folder, and is a link to a folder of the person's now."""
    precious = tmp_path / "precious"
    shutil.move(repository / "conf", precious)
    (repository / "conf").symlink_to(precious)
    folder = take(repository, store, ["*"]).folder
    assert (folder / "conf").is_symlink()
    assert (precious / "train.yaml").stat().st_mode & 0o200  # not one of ours
    assert [path.name for path in precious.iterdir()] == ["train.yaml"]


@pytest.mark.parametrize("name", ["with space.py", "line\nbreak.py", "größe-天气.py", 'quote".py', "-dash", "a\\b"])
def test_any_name(repository: Path, store: Path, name: str) -> None:
    (repository / name).write_text("untracked")
    (repository / "src" / name).write_text("tracked")
    git(repository, "add", "src")
    assert names(take(repository, store, ["*"]).folder) == FILES | {name, f"src/{name}"}


def test_a_name_that_is_no_text(repository: Path, store: Path) -> None:
    with open(os.fsencode(repository) + b"/\xff.py", "w") as stream:
        stream.write("x")
    folder = take(repository, store, ["*.py"]).folder
    assert b"\xff.py" in os.listdir(os.fsencode(folder))


def test_files_of_submodules_and_of_nested_repositories(repository: Path, store: Path, tmp_path: Path) -> None:
    second = repositories.committed(tmp_path / "other")
    git(repository, "submodule", "--quiet", "add", str(second), "sub")
    git(repository, "clone", "--quiet", str(second), "nested")
    (repository / "sub" / "untracked.py").write_text("x")
    (repository / "sub" / "ignored.log").write_text("x")
    inner = {f"{folder}/{name}" for folder in ("sub", "nested") for name in FILES}
    fetched = {name for name in inner if name.startswith("sub/")}
    assert names(take(repository, store).folder) == FILES | fetched | {".gitmodules"}
    assert names(take(repository, store, ["nested"]).folder) == FILES | inner | {".gitmodules"}


def test_a_submodule_that_was_not_fetched(repository: Path, store: Path, tmp_path: Path) -> None:
    git(repository, "submodule", "--quiet", "add", str(repositories.committed(tmp_path / "other")), "sub")
    git(repository, "submodule", "--quiet", "deinit", "--force", "sub")
    assert names(take(repository, store).folder) == FILES | {".gitmodules"}


def test_a_file_that_became_a_folder_and_the_reverse(repository: Path, store: Path) -> None:
    (repository / "README.md").unlink()
    (repository / "README.md").mkdir()
    (repository / "README.md" / "part.md").write_text("x")
    shutil.rmtree(repository / "conf")
    (repository / "conf").write_text("x")
    expected = FILES - {"README.md", "conf/train.yaml"} | {"README.md/part.md", "conf"}
    assert names(take(repository, store, ["*"]).folder) == expected


def test_a_store_inside_the_repository_is_no_part_of_it(repository: Path) -> None:
    store = repository / "snapshots"  # not ignored
    first = take(repository, store)
    assert take(repository, store) == first
    assert names(first.folder) == FILES


def test_git_of_another_repository_is_not_asked(
    repository: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git hook sets GIT_DIR, and everything it starts inherits it."""
    (repository / "kept.log").write_text("ignored, and tracked nevertheless")
    git(repository, "add", "--force", "kept.log")
    monkeypatch.setenv("GIT_DIR", str(repositories.committed(tmp_path / "other") / ".git"))
    assert names(take(repository, store).folder) == FILES | {"kept.log"}


def test_large_files_that_git_does_not_know_are_refused(repository: Path, store: Path) -> None:
    for name, size in {"model.safetensors": 40_000_000, "data.bin": 20_000_000, "note.txt": 3}.items():
        with open(repository / name, "wb") as stream:
            stream.truncate(size)
    with pytest.raises(RunError, match=r"model.safetensors \(40.0 MB\), data.bin \(20.0 MB\).*\.gitignore") as raised:
        take(repository, store, ["*"])
    assert "launch.snapshot=false" in str(raised.value)
    assert not store.exists()
    (repository / ".gitignore").write_text("*.safetensors\n*.bin\n")  # the message's first advice
    assert names(take(repository, store, ["*"]).folder) == FILES | {"note.txt"}


def test_large_files_that_git_tracks_are_copied(repository: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "UNTRACKED_BYTES", 0)
    assert names(take(repository, store).folder) == FILES


# Named by content


def test_same_content_is_not_copied_twice(repository: Path, store: Path) -> None:
    first = take(repository, store)
    previous = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in first.folder.rglob("*")}
    git(repository, "commit", "--quiet", "--allow-empty", "--message=second")
    os.utime(repository / "train.py", (0, 0))
    assert take(repository, store) == first
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in first.folder.rglob("*")} == previous
    assert [path.name for path in store.iterdir()] == [first.digest]


def test_another_place_with_the_same_content_has_the_same_name(repository: Path, store: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(repository), "clone")
    assert take(tmp_path / "clone", store) == take(repository, store)


def test_every_edit_has_a_folder_of_its_own(repository: Path, store: Path) -> None:
    digests = [take(repository, store, ["*"]).digest]
    script = repository / "train.py"
    for edit in (
        lambda: script.write_text("print('other')\n"),
        lambda: script.chmod(0o755),
        lambda: script.rename(repository / "other.py"),
        lambda: (repository / "empty.py").touch(),
        lambda: (repository / "link").symlink_to("empty.py"),
        lambda: ((repository / "link").unlink(), (repository / "link").write_text("empty.py")),
    ):
        edit()
        digests.append(take(repository, store, ["*"]).digest)
    assert len(set(digests)) == 7
    assert {path.name for path in store.iterdir()} == set(digests)


def test_an_edit_afterwards_changes_nothing(repository: Path, store: Path) -> None:
    code_copy = take(repository, store)
    (repository / "src/tunefleet/__init__.py").write_text("VALUE = 2\n")
    shutil.rmtree(repository / "conf")
    assert names(code_copy.folder) == FILES
    assert (code_copy.python_path / "tunefleet/__init__.py").read_text() == "VALUE = 1\n"
    assert python("import tunefleet; print(tunefleet.VALUE)", path=code_copy.python_path).stdout == "1\n"
    assert python("import tunefleet; print(tunefleet.VALUE)", path=repository / "src").stdout == "2\n"  # control


def test_files_are_read_only(repository: Path, store: Path) -> None:
    folder = take(repository, store).folder
    assert not any((folder / name).stat().st_mode & 0o222 for name in names(folder))


def test_puts_back_what_a_cleaner_deleted_or_somebody_changed(repository: Path, store: Path) -> None:
    (repository / "link").symlink_to("train.py")
    code_copy = take(repository, store, ["*"])
    shutil.rmtree(code_copy.folder / "conf")
    (code_copy.folder / "link").unlink()
    (code_copy.folder / "train.py").chmod(0o644)
    (code_copy.folder / "train.py").write_text("other")
    (code_copy.folder / "src/tunefleet/__pycache__").mkdir()
    untouched = (code_copy.folder / "README.md").stat().st_ino
    assert take(repository, store, ["*"]) == code_copy
    assert names(code_copy.folder) == FILES | {"link"}
    assert (code_copy.folder / "train.py").read_text() == "print('training')\n"
    assert (code_copy.folder / "README.md").stat().st_ino == untouched
    assert [path.name for path in store.iterdir()] == [code_copy.digest]


# Interrupted, or not alone


def test_a_copy_that_fails_leaves_nothing(repository: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "/store/x")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DiskError, match=r"No space left on device \(.* free\)\. Make room there"):
            take(repository, store)
    assert list(store.iterdir()) == []
    assert names(take(repository, store).folder) == FILES


def test_a_killed_copy_leaves_no_snapshot(repository: Path, store: Path) -> None:
    kill = "import os, signal; from tunefleet.base import files\n"
    kill += "files.publish = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
    assert python(kill + TAKE, repository, store).returncode == -signal.SIGKILL
    assert [path.suffix for path in store.iterdir()] == [".tmp"]  # control: it was on its way
    assert names(take(repository, store).folder) == FILES


def test_submitters_at_the_same_time(repository: Path, store: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", TAKE, str(repository), str(store)]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    digests = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert set(digests) == {take(repository, store).digest}
    assert [path.name for path in store.iterdir()] == digests[:1]


def test_a_submitter_that_was_faster(repository: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finishes after this one looked and before this one renames."""
    code_copy = take(repository, store)
    inode = code_copy.folder.stat().st_ino
    monkeypatch.setattr(snapshot, "store_files", snapshot.create_folder)
    assert take(repository, store) == code_copy
    assert code_copy.folder.stat().st_ino == inode
    assert [path.name for path in store.iterdir()] == [code_copy.digest]


def test_a_store_that_cannot_be_made(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file.*so the code cannot be copied"):
        take(repository, tmp_path / "file" / "store")


# Without git


def test_without_a_repository_the_known_parts_are_copied(tmp_path: Path, store: Path) -> None:
    folder = repositories.project(tmp_path / "unpacked")
    (folder / "src/tunefleet/__pycache__").mkdir()
    (folder / "src/tunefleet/__pycache__/x.pyc").touch()
    (folder / "outputs").mkdir()
    (folder / "outputs" / "weights").touch()
    expected = FILES - {"README.md", ".gitignore"}
    assert names(take(folder, store).folder) == expected


def test_without_the_command_git_too(repository: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert names(take(repository, store).folder) == FILES - {"README.md", ".gitignore"}


def test_an_installed_package_is_copied_alone(tmp_path: Path, store: Path) -> None:
    code_copy = take(tmp_path, store)
    assert {name.split("/")[0] for name in names(code_copy.folder)} == {"src"}
    done = python(PROBE, path=code_copy.python_path)
    assert done.stdout.startswith(str(code_copy.folder)), done.stderr


@pytest.mark.parametrize("ignored", [True, False])
def test_a_repository_around_an_installed_package_is_not_meant(repository: Path, store: Path, ignored: bool) -> None:
    site = repository / ("outputs" if ignored else "venv")
    site.mkdir()
    (site / "foreign.py").touch()
    folder = take(site, store).folder
    assert (folder / "src/tunefleet/launch/snapshot.py").is_file()
    assert not (folder / "foreign.py").exists()


# What a job imports


def test_a_job_imports_the_snapshot_although_the_project_is_installed(store: Path, tmp_path: Path) -> None:
    code_copy = take(ROOT, store)
    code = PROBE + "; from tunefleet.doors.compose import CONF; print(CONF)"
    done = python(code, path=code_copy.python_path)
    assert done.stdout.splitlines() == [
        str(code_copy.python_path / "tunefleet/__init__.py"),
        str(code_copy.folder / "conf"),
    ], done.stderr
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", "import tunefleet; print(tunefleet.__file__)"]
    control = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert control.returncode == 0, control.stderr  # it is installed
    assert not control.stdout.startswith(str(code_copy.folder))


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, tunefleet.launch.snapshot\nprint({'torch', 'numpy', 'omegaconf', 'hydra'} & set(sys.modules))"
    assert python(code).stdout == "set()\n"
