"""Does `python train.py ...` answer a person: quickly, with every mistake at once, and never with a traceback?"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from omegaconf import OmegaConf

TRAIN = Path(__file__).parents[2] / "train.py"
OF_OTHERS = ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "HYDRA_FULL_ERROR")


@dataclass(frozen=True)
class Answer:
    """What a command said, how it ended, and its seconds of processor time, which do not depend on what runs beside."""

    code: int
    out: str
    err: str
    seconds: float


class Person:
    """Somebody in an empty folder, with an empty Hugging Face cache and no GPU."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        inherited = {key: value for key, value in os.environ.items() if key not in OF_OTHERS}
        self.environment = {**inherited, "HF_HUB_CACHE": str(folder / "hub"), "CUDA_VISIBLE_DEVICES": ""}

    def python(self, *arguments: str) -> Answer:
        """`python WORDS`."""
        previous = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
        )
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - previous.ru_utime
        return Answer(done.returncode, done.stdout, done.stderr, used)

    def types(self, *arguments: str) -> Answer:
        """`python train.py WORDS`."""
        return self.python(str(TRAIN), *arguments)

    def leftovers(self) -> list[str]:
        """What lies in the folder."""
        return sorted(entry.name for entry in self.folder.iterdir())


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def expect_complaints(answer: Answer, *expected: str) -> None:
    """Exit code 2, exactly these beginnings of complaints in any order, and nothing of the machinery."""
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.out + answer.err
    assert "HYDRA_FULL_ERROR" not in answer.err
    lines = answer.err.strip().splitlines()
    head = "tunefleet: " if len(expected) == 1 else f"tunefleet: {len(expected)} errors:"
    assert lines[0].startswith(head)
    output = [lines[0].removeprefix(head), *lines[1:]] if len(expected) == 1 else lines[1:]
    output = [line.removeprefix("  - ") for line in output]
    assert len(output) == len(expected), output
    for beginning in expected:
        assert any(line.startswith(beginning) for line in output), (beginning, output)


# Help


def test_help_shows_ten_examples(person: Person) -> None:
    answer = person.types("--help")
    shown = answer.out.split("Examples\n")[1]
    examples = [line for line in shown.splitlines() if line.startswith("  python train.py")]
    assert answer.code == 0
    assert len(examples) == 10
    assert answer.err == ""


def test_help_names_every_group_and_its_choices(person: Person) -> None:
    output = person.types("--help").out
    conf = TRAIN.parent / "conf"
    no_groups = ("hydra", "local", "__pycache__")
    groups = [folder for folder in conf.iterdir() if folder.is_dir() and folder.name not in no_groups]
    assert len(groups) >= 10
    for group in groups:
        choices = re.search(rf"^\s*{group.name}: (.+)$", output, re.MULTILINE)
        assert choices, group.name
        assert set(choices[1].split(", ")) == {path.stem for path in group.glob("*.yaml")}


def test_show_the_composed_settings(person: Person) -> None:
    answer = person.types("--cfg", "job", "parallel=zero3", "optimizer.lr=1e-4", "seed=5")
    settings = OmegaConf.create(answer.out)
    assert answer.code == 0
    assert settings.parallel.zero_stage == 3
    assert settings.optimizer.lr == 1e-4
    assert settings.train.seed == 5  # follows the top-level seed
    assert person.leftovers() == []


# Mistakes


def test_unknown_keys_bad_values_and_wrong_groups_at_once(person: Person) -> None:
    answer = person.types("lr=1", "optimzer.lr=2", "train.max_steps=abc", "optimizer.lr=-1", "+train.micro_bach=2")
    expect_complaints(
        answer,
        "lr: unknown key. Did you mean 'optimizer.lr'?",
        "optimzer: unknown key. Did you mean 'optimizer'?",
        "train.max_steps: 'abc' is not allowed. Allowed: a whole number at least 1, or null.",
        "optimizer.lr: -1 is not allowed. Allowed: a number above 0.",
        "train.micro_bach: unknown key. Did you mean 'train.micro_batch'?",
    )
    assert person.leftovers() == []


def test_bad_choices_at_once(person: Person) -> None:
    expect_complaints(
        person.types("model=opt-1.4b", "parallel=zero9"),
        "model: no choice named 'opt-1.4b'. Did you mean 'opt-1.3b'?",
        "parallel: no choice named 'zero9'. Did you mean 'zero3'?",
    )


def test_settings_that_do_not_go_together(person: Person) -> None:
    expect_complaints(
        person.types("model.tokenizer=/absent", "data=jsonl", "train.global_batch=7", "name=a/b"),
        "data.path: not set.",
        "model.tokenizer: /absent is not a folder",
        "train.global_batch: 7 is not a multiple of",
        "name: 'a/b' is not allowed.",
    )
    assert person.leftovers() == []


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (["output_dir=${nope}"], "output_dir: "),
        (["data=jsonl", "data.path=absent.jsonl", "model.tokenizer=."], "data.path: "),
        (["train.max_steps=[1"], "train.max_steps: '[1' opens a bracket that it does not close."),
        (["foo"], "foo: not an override."),
    ],
    ids=["interpolation", "file", "bracket", "no equals sign"],
)
def test_one_mistake_of_another_kind(person: Person, arguments: list[str], begins: str) -> None:
    (person.folder / "tokenizer.json").write_text("{}")
    expect_complaints(person.types(*arguments), begins)


def test_no_choice_of_a_group_is_a_choice(person: Person) -> None:
    answer = person.types("--cfg", "job", "experiment=null", "data=null")
    assert answer.code == 0, answer.err
    assert OmegaConf.create(answer.out).data.name == "jsonl"  # the default of the dataclass


def test_a_grid_names_the_mistakes_of_every_point(person: Person) -> None:
    answer = person.types("-m", "optimizer.lr=-1,-2", "model.tokenizer=.")
    expect_complaints(answer, "[optimizer.lr=-1] ", "[optimizer.lr=-2] ")


def test_a_model_that_is_not_here_is_said_at_once(person: Person) -> None:
    answer = person.types("parallel=zero3", "model=opt-1.3b")
    expect_complaints(answer, "model.path: facebook/opt-1.3b is not on this machine")
    for way in ("`hf download facebook/opt-1.3b`", "model.path=", "model.init=random"):
        assert way in answer.err
    assert answer.seconds < 2


# Nothing heavy before the ranks

LIGHT = """
import sys
from tunefleet.base.errors import ConfigError
from tunefleet.doors.compose import from_overrides
from tunefleet.plan import Machine, make
plan = make(from_overrides(["model=opt-1.3b", "model.init=random", "model.tokenizer=.", "parallel=zero3"]), Machine())
assert plan.parameters == 1_315_758_080, plan.parameters
try:
    make(from_overrides(["model=opt-125m"]), Machine())  # looks into the Hugging Face cache
except ConfigError as error:
    assert "hf download facebook/opt-125m" in str(error)
else:
    raise AssertionError("an empty cache held a model")
HEAVY = {"torch", "deepspeed", "transformers", "tokenizers", "numpy", "wandb", "matplotlib", "rich"}
"""


def test_composing_and_planning_import_nothing_heavy(person: Person) -> None:
    (person.folder / "tokenizer.json").write_text("{}")
    answer = person.python("-W", "error", "-c", LIGHT + "found = HEAVY & set(sys.modules); assert not found, found")
    assert answer.code == 0, answer.err
    assert answer.seconds < 3


def test_control_a_heavy_import_would_be_seen(person: Person) -> None:
    (person.folder / "tokenizer.json").write_text("{}")
    code = LIGHT + "import numpy; found = HEAVY & set(sys.modules); assert not found, found"
    answer = person.python("-c", code)
    assert answer.code == 1
    assert "AssertionError: {'numpy'}" in answer.err
