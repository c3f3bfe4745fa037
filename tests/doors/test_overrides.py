"""Is what a person types checked against the choices, and handed to Hydra so that every mistake is named?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.doors import overrides
from tunefleet.doors.compose import CONF


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Two groups, of which `hydra` is not ours."""
    for name in ("model/opt-1.3b", "model/gpt2", "parallel/zero3", "parallel/ddp", "hydra/help/mine"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "train.yaml").touch()
    (tmp_path / "model" / "notes.txt").touch()
    return tmp_path


def test_groups_are_the_folders(conf: Path) -> None:
    assert overrides.groups(conf) == {"model": {"opt-1.3b", "gpt2"}, "parallel": {"zero3", "ddp"}}


@pytest.mark.parametrize(
    ("typed", "accepted"),
    [
        ("model=gpt2", "model=gpt2"),
        ("model=null", "~model"),  # Hydra does not take null for a group
        ("model=gpt2,opt-1.3b", "model=gpt2,opt-1.3b"),
        ("model=choice(gpt2,nothing)", "model=choice(gpt2,nothing)"),  # Hydra's own words are Hydra's to check
        ("model=glob(*)", "model=glob(*)"),
        ("model.path=x", "++model.path=x"),
        ("seed=1", "++seed=1"),
        ("train.max_steps=1,2", "++train.max_steps=1,2"),
        ("name=", "++name="),
        ("data.path=a=b", "++data.path=a=b"),
        ("typo=1", "++typo=1"),
        ("+typo=1", "+typo=1"),
        ("++typo=1", "++typo=1"),
        ("~model", "~model"),
        ("hydra.verbose=true", "hydra.verbose=true"),
        ("hydra/launcher=basic", "hydra/launcher=basic"),
        ("-m", "-m"),
        ("--cfg", "--cfg"),
    ],
)
def test_what_hydra_gets(conf: Path, typed: str, accepted: str) -> None:
    assert overrides.accept([typed], conf) == [accepted]


def test_what_the_deepspeed_launcher_adds_is_left_out(conf: Path) -> None:
    assert overrides.accept(["--local_rank=1", "--local-rank=1", "seed=1"], conf) == ["++seed=1"]


def test_the_word_for_a_grid_may_stand_anywhere(conf: Path) -> None:
    assert overrides.accept(["seed=1", "-m", "name=a,b"], conf) == ["-m", "++seed=1", "++name=a,b"]


def test_every_bad_choice_at_once_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        overrides.accept(["model=opt-1.4b", "parallel=zero9", "seed=1"], CONF)
    assert list(caught.value.complaints) == [
        "model: no choice named 'opt-1.4b'. Did you mean 'opt-1.3b'?",
        "parallel: no choice named 'zero9'. Did you mean 'zero3'?",
    ]


def test_a_choice_like_no_other_lists_what_there_is(conf: Path) -> None:
    with pytest.raises(ConfigError, match=r"parallel: no choice named 'qqqq'\. Known: ddp, zero3\."):
        overrides.accept(["parallel=qqqq"], conf)


@pytest.mark.parametrize(
    ("typed", "bad"), [("model=gpt2,bert", "'bert'"), ("model=", "''"), ("model=notes", "'notes'")]
)
def test_one_bad_choice_among_others(conf: Path, typed: str, bad: str) -> None:
    with pytest.raises(ConfigError, match=f"no choice named {bad}"):
        overrides.accept([typed], conf)


def test_words_as_they_were_typed() -> None:
    assert overrides.typed(["++seed=1", "model=gpt2", "+x=1"]) == ["seed=1", "model=gpt2", "+x=1"]
