"""Is a YAML file of the user's that is broken, or has no end, refused in one line with its name?"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.doors import compose

HEAD = "# @package _global_\n"
LAUGHS = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]\n" for i in range(10))
BROKEN = {
    "open list": ("seed: 3\na: [1\nb: 2\n", r"mine\.yaml:4: broken YAML: expected ',' or '\]'"),
    "deep": ("a: " + "[" * 3000 + "]" * 3000, "too deep inside of each other"),
    "aliases": (LAUGHS, r"mine\.yaml: its aliases multiply to more than 100,000 values"),
    "digits": ("seed: " + "1" * 100_000, "mine.yaml: cannot be read as YAML: Exceeds the limit"),
    "tag": ("!!python/object/apply:os.system ['touch planted']", "mine.yaml:2: broken YAML: could not determine"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_yaml_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = BROKEN[kind]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(HEAD + content)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=message) as error:
        compose.from_overrides([f"--config-dir={tmp_path}", "experiment=mine"], with_project_conf=False)
    assert all("\n" not in complaint for complaint in error.value.complaints)
    assert time.monotonic() - began < 60
    assert not (tmp_path / "planted").exists()


def test_a_few_aliases_are_read(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(HEAD + "seed: &s 7\ntrain: {seed: *s}\n")
    config = compose.from_overrides([f"--config-dir={tmp_path}", "experiment=mine"], with_project_conf=False)
    assert config.train.seed == 7


def test_a_name_that_is_longer_than_a_file_system_allows_is_named() -> None:
    with pytest.raises(ConfigError, match="experiment: no choice named 'aaa"):
        compose.from_overrides([f"experiment={'a' * 300}"], with_project_conf=False)
