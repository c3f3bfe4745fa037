"""Is code of a user's project imported only where the user's settings file allows it, and from the file that counts?"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base import own_code
from tunefleet.base.errors import ConfigError
from tunefleet.base.own_code import OwnCodeError, complaint, load


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that is no installed one; a module of it leaves a file where it is imported."""
    package = tmp_path / "some_project"
    package.mkdir()
    (package / "__init__.py").write_text("import pathlib; pathlib.Path(__file__).with_name('imported').touch()")
    (package / "metrics.py").write_text("def twice(answers, references): return 2.0\nnumber = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv(own_code.SETTINGS, str(tmp_path / "settings.toml"))
    yield package
    for name in [name for name in sys.modules if name.startswith("some_project")]:
        del sys.modules[name]


def allow(project: Path, text: str = 'allow_code = ["some_project"]') -> Path:
    path = project.parent / "settings.toml"
    path.write_text(text)
    return path


NAME = "some_project.metrics:twice"


def test_without_a_settings_file_it_is_refused_with_the_line_to_write_and_not_imported(project: Path) -> None:
    settings = project.parent / "settings.toml"
    with pytest.raises(ConfigError) as refused:
        tiny_plan(project.parent, evaluation={"own_metrics": [NAME]})
    assert list(refused.value.complaints) == [
        "evaluation.own_metrics: some_project.metrics is not allowed to run. If it is yours, write into "
        f'{settings}: allow_code = ["some_project"]'
    ]
    with pytest.raises(OwnCodeError, match="is not allowed to run"):
        load(NAME)
    assert not (project / "imported").exists()


def test_where_it_is_allowed_the_plan_imports_nothing_and_a_rank_does(project: Path) -> None:
    allow(project)
    assert tiny_plan(project.parent, evaluation={"own_metrics": [NAME]}).config.evaluation.own_metrics == (NAME,)
    assert not (project / "imported").exists()
    assert load(NAME)([], []) == 2.0
    assert (project / "imported").exists()


def test_the_default_place_is_in_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(own_code.SETTINGS, raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert own_code.settings_file() == tmp_path / ".config" / "tunefleet" / "settings.toml"


@pytest.mark.parametrize(
    ("name", "settings", "reason"),
    [
        ("some_project.metrics", "", "'some_project.metrics' is not allowed. Allowed: MODULE:NAME"),
        ("os:system; print", "", "is not allowed. Allowed: MODULE:NAME"),
        (NAME, 'allow_code = ["some", "some_project.metric"]', "is not allowed to run"),
        (NAME, "allow_code = [", "cannot be read"),
        (NAME, "allow_code = 3", "is a list of modules"),
        ("some_project.missing:f", 'allow_code = ["some_project"]', "there is no module some_project.missing here"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_imported(
    project: Path, name: str, settings: str, reason: str
) -> None:
    allow(project, settings)
    assert reason in complaint(name)
    assert not (project / "imported").exists()


def test_a_settings_file_that_everybody_may_write_is_none(project: Path) -> None:
    allow(project).chmod(0o666)
    assert "settings.toml" in complaint(NAME)
    assert "chmod o-w" in complaint(NAME)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("some_project.metrics:number", "has no function or class number"),
        ("some_project.metrics:missing", "has no function or class missing"),
        ("some_project.broken:f", "cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_rank_says_what_is_wrong_with_it_in_one_line(project: Path, name: str, reason: str) -> None:
    allow(project)
    (project / "broken.py").write_text("1 / 0")
    with pytest.raises(OwnCodeError) as refused:
        load(name)
    assert reason in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_two_metrics_of_one_value_are_refused(project: Path) -> None:
    allow(project)
    (project / "metrics.py").write_text("def bleu(answers, references): return 0.0\n")
    with pytest.raises(ConfigError, match="would be another bleu"):
        tiny_plan(project.parent, evaluation={"own_metrics": ["some_project.metrics:bleu"]})
