"""A configuration runs no code: what Hydra would make objects of is refused, typed or from any file.

The gadget is a function of ours that runs `git init`, because Hydra itself refuses `os.system` and the like.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.doors import compose, hydra_settings, train
from tunefleet.doors.compose import from_overrides

GADGET = "{_target_: tunefleet.launch.git.output, _args_: [/, init, MARK]}"
FACTORY = '{version: 1, handlers: {x: {"()": shutil.copyfile, src: /etc/hostname, dst: MARK}}, root: {handlers: [x]}}'
NODES = {  # in Hydra's settings: where its own code would make an object of it, or call it
    "launcher": "{x: GADGET}",
    "launcher itself": "GADGET",
    "sweeper": "{x: GADGET}",
    "sweeper itself": "GADGET",
    "params": "{seed: GADGET}",
    "params in a list": "{seed: [GADGET]}",
    "callbacks": "{x: GADGET}",
    "hydra_logging": FACTORY,
    "job_logging": FACTORY,
    "env": "{x: GADGET}",
    "brand_new": "{x: GADGET}",
}
PLACES = {"params": "sweeper.params"}


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789abcdef0123")
    return tmp_path / "mark"


def node_of(name: str, mark: Path) -> tuple[str, str]:
    """The key below `hydra.` and its value, which would write the file `mark`."""
    key = name.split()[0]
    return PLACES.get(key, key), NODES[name].replace("GADGET", GADGET).replace("MARK", str(mark))


def exit_code(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        train.main(words)
    return caught.value.code


def in_a_file(folder: Path, key: str, value: str, group: str = "experiment") -> None:
    (folder / "mine" / group).mkdir(parents=True)
    for part in reversed(["hydra", *key.split(".")]):
        value = f"{{{part}: {value}}}"
    (folder / "mine" / group / "planted.yaml").write_text(f"# @package _global_\n{value[1:-1]}\n")


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("act", [["-m", "seed=1,2"], ["--help"]])
def test_a_file_that_names_code_is_refused(
    name: str, act: list[str], mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_a_file(mark.parent, *node_of(name, mark))
    assert exit_code(*act, "--config-dir=mine", "experiment=planted") == 2
    assert "tunefleet: " in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize("name", [name for name in NODES if NODES[name] != FACTORY])
def test_the_same_as_it_is_typed_is_refused(name: str, mark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, value = node_of(name, mark)
    assert exit_code("-m", "seed=1,2", f"++hydra.{key}={value}") == 2
    assert "tunefleet: " in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize("name", ["launcher", "sweeper", "params"])
def test_control_hydra_runs_it(name: str, mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With our checks off, what is refused above writes the file."""
    monkeypatch.setattr(hydra_settings, "complaints", lambda *arguments, **options: [])
    key, value = node_of(name, mark)
    with pytest.raises((Exception, SystemExit)):
        train.main(["-m", "seed=1,2", "train.max_steps=0", f"++hydra.{key}={value}"])
    assert mark.exists()


def test_control_logging_runs_it(mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hydra_settings, "complaints", lambda *arguments, **options: [])
    in_a_file(mark.parent, *node_of("hydra_logging", mark))
    with pytest.raises((Exception, SystemExit)):
        train.main(["--help", "--config-dir=mine", "experiment=planted"])
    assert mark.exists()


def test_a_launcher_of_a_folder_is_refused(mark: Path) -> None:
    """Chosen in a nested list of defaults."""
    in_a_file(mark.parent, "unused", "1", "experiment")
    (mark.parent / "mine/hydra/launcher").mkdir(parents=True)
    (mark.parent / "mine/hydra/launcher/mine.yaml").write_text(GADGET.replace("MARK", str(mark)))
    text = "# @package _global_\ndefaults:\n  - override /hydra/launcher: mine\n"
    (mark.parent / "mine/experiment/planted.yaml").write_text(text)
    assert len(compose.grid(["--config-dir=mine", "experiment=planted", "seed=1,2"])) == 2  # ours holds all the same
    assert exit_code("-m", "seed=1,2", "--config-dir=mine", "hydra/launcher=mine") == 2
    assert not mark.exists()


def test_overrides_that_a_file_claims_were_typed_are_refused(mark: Path) -> None:
    (mark.parent / "mine").mkdir()
    (mark.parent / "mine/top.yaml").write_text("defaults: [train, _self_]\nhydra: {overrides: {task: [seed=4]}}\n")
    with pytest.raises(ConfigError, match=r"hydra\.overrides: Hydra fills it in itself"):
        from_overrides(["--config-dir=mine", "--config-name=top"])


@pytest.mark.parametrize("key", ["optimizer.x", "model.architecture.x", "launch.extra.x", "x"])
def test_a_target_anywhere_in_a_runs_settings_is_refused(key: str, mark: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        from_overrides([f"+{key}={GADGET.replace('MARK', str(mark))}"])
    assert f"{key}._target_: settings name no code. Leave it out." in caught.value.complaints


def test_a_target_of_one_point_is_refused(mark: Path) -> None:
    (point,) = [config for _, config in compose.grid(["+model.architecture._target_=choice(os.system)"])]
    assert "model.architecture._target_: settings name no code. Leave it out." in getattr(point, "complaints", ())


def test_a_file_of_this_cluster_sets_launch_alone(mark: Path) -> None:
    """`conf/local/cluster.yaml` is added to every command, so it may not change what a run is."""
    folder = mark.parent / "conf/local"
    folder.mkdir(parents=True)
    (folder / "cluster.yaml").write_text("# @package _global_\nmodel: {allow_pickle: true}\n")
    with pytest.raises(ConfigError, match="model"):
        from_overrides([])
    (folder / "cluster.yaml").write_text("defaults:\n  - /schedule@_global_.train: linear\n")
    with pytest.raises(ConfigError, match="local/cluster: chooses other configs"):
        from_overrides([])
    (folder / "cluster.yaml").write_text("processes: 1\n")
    assert from_overrides([]).launch.processes == 1
    with pytest.raises(ConfigError, match="local/cluster: holds settings of the group launch alone"):
        from_overrides(["+local@model=cluster"])


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("${oc.env:HF_TOKEN}", "name: the variable HF_TOKEN looks like a secret"),
        ("${oc.env:'HF_TOKEN',x}", "name: the variable HF_TOKEN looks like a secret"),
        ("${oc.env:${oc.select:project,HF_TOKEN}}", "name: the variable HF_TOKEN looks like a secret"),
        ("${oc.env:INNOCENT}", "name: the variable INNOCENT looks like a secret"),
        ("${oc.decode:x}", "name: Unsupported interpolation type oc.decode. Allowed: hydra, now, "),
        ("${oc.create:{a: 1}}", "name: Unsupported interpolation type oc.create"),
        ("${of_a_library:x}", "name: Unsupported interpolation type of_a_library"),
    ],
)
def test_an_interpolation_reads_no_secret(
    value: str, complaint: str, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("of_a_library", lambda text: mark.touch(), replace=True)
    monkeypatch.setenv("INNOCENT", "hf_0123456789abcdef0123")
    (mark.parent / "mine/experiment").mkdir(parents=True)
    text = f"# @package _global_\nname: {json.dumps(value)}\n"
    (mark.parent / "mine/experiment/planted.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        from_overrides(["--config-dir=mine", "experiment=planted"])
    assert caught.value.complaints[0].startswith(complaint)
    assert not mark.exists()


def test_control_a_variable_that_holds_no_secret_is_read(mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "scratch7")
    assert from_overrides(["name=${oc.env:SCRATCH}"]).name == "scratch7"
    assert from_overrides(["name=${oc.env:ABSENT,other}"]).name == "other"
    with pytest.raises(ConfigError, match="ABSENT"):
        from_overrides(["name=${oc.env:ABSENT}"])


def test_a_package_on_the_search_path_is_not_imported(mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = mark.parent / "planted_package"
    (package / "conf/experiment").mkdir(parents=True)
    (package / "__init__.py").write_text(f"import pathlib; pathlib.Path({str(mark)!r}).touch()")
    (package / "conf/__init__.py").touch()
    (package / "conf/experiment/short.yaml").write_text("# @package _global_\nseed: 11\n")
    monkeypatch.syspath_prepend(str(mark.parent))
    assert from_overrides(["hydra.searchpath=[pkg://planted_package.conf]", "experiment=short"]).seed == 11
    assert not mark.exists()
    __import__("planted_package")  # the control: importing it would have
    assert mark.exists()


def test_hydras_own_help_is_shown(mark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--hydra-help") == 0
    assert "Hydra" in capsys.readouterr().out
