"""Does every command of a page parse, name what exists, and is it executed by a test or says why not?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from documentation.typed_commands import LANGUAGES, PAGES, ROOT, TypedCommand, blocks, files, inline, typed_commands
from hydra.types import RunMode

from tests.floors.executed_commands import EXECUTED
from tunefleet.base.errors import ConfigError
from tunefleet.doors import arguments, cli, compose, composed
from tunefleet.doors.command_table import options_of
from tunefleet.doors.hydra_loader import Loader
from tunefleet.plan.estimate.gpus import cluster

OTHER_PROGRAMS = ("bash", "cd", "done;", "echo", "git", "lm_eval", "mkdir", "pip", "seq", "source", "ssh")
MADE_BY_READERS = ("conf/experiment/qlora.yaml", "conf/experiment/ablation/small.yaml")
"""Files that a command of the page makes, or whose text is left to the reader."""

OPENED = re.compile(r"docs/sweeps\.md:\d+ python train\.py -m sweeps=")
"""What tests/stories/test_sweep_docs.py opens for real."""


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that holds the files that the pages show."""
    folder = tmp_path_factory.mktemp("project")
    for path, text in {**dict.fromkeys(MADE_BY_READERS, "# @package _global_\n"), **files()}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@cache
def loader(folders: tuple[str, ...]) -> Loader:
    """One for all: opening another takes as long as composing with it."""
    return compose.opened(arguments.Arguments(config_dirs=folders))


def expect_right(command: TypedCommand) -> None:
    """Raises `ConfigError` for what is refused, `AssertionError` for a program or a file that is not there."""
    for name, *words in command.programs():
        if name == "tunefleet":
            expect_tunefleet(words)
        elif name.endswith("python"):
            expect_python(words)
        elif name == "make":
            assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
        else:
            assert name in OTHER_PROGRAMS, name


def expect_tunefleet(words: Sequence[str]) -> None:
    if words[0] == "train":
        return expect_training(tuple(words[1:]))
    if words == ["--version"]:
        return None
    args = cli.parse(words)
    if getattr(args, "machine", None):
        cluster(args.machine)
    settings = [*getattr(args, "overrides", ()), *getattr(args, "settings", ())]
    return expect_training((*["-m"] * getattr(args, "multirun", False), *settings)) if settings else None


@cache
def expect_training(words: tuple[str, ...]) -> None:
    """Composes the configuration, every point of a grid, or a search."""
    typed = arguments.parse(words)
    if typed.mistakes:
        raise ConfigError(*typed.mistakes)
    if typed.act != "run":
        return
    mode = RunMode.MULTIRUN if typed.multirun else RunMode.RUN
    config = loader(typed.config_dirs).load_configuration(typed.config_name, list(typed.overrides), mode)
    if composed.sweep(config):
        assert typed.multirun, "a search is typed with -m"
    elif typed.multirun:
        for _, point in compose.points(config, loader(typed.config_dirs)):
            if isinstance(point, ConfigError):
                raise point
    else:
        compose.typed(config)


def expect_python(words: Sequence[str]) -> None:
    if words[0] == "train.py":
        return expect_training(tuple(words[1:]))
    module = find_spec(words[1]) if words[0] == "-m" else None
    assert module, f"no module {words}"
    assert module.origin
    source = Path(module.origin).with_name("__main__.py") if module.submodule_search_locations else Path(module.origin)
    for word in words[2:]:
        assert not word.startswith("--") or f'"{word}"' in source.read_text(), f"{words[1]} has no option {word}"
        assert "/" not in word or (ROOT / word).exists(), f"{word} is not there"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_blocks_are_right(page: Path) -> None:
    wrong = []
    for command in typed_commands([page]):
        if OPENED.match(f"{command.place} {command.text}"):
            continue
        try:
            expect_right(command)
        except (ConfigError, AssertionError, ValueError) as error:
            wrong.append(f"{command.place} {command.text}\n    {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "python train.py optimiser.lr=1",
        "python train.py train.micro_batch=many",
        "python train.py --dry-runs",
        "python train.py sweeps=lr_grid",
        "python train.py -m optimizer.lr=1e-3,fast",
        "tunefleet plann",
        "tunefleet plan --machines 8xH100-80G",
        "tunefleet plan --machine 8xH900",
        "tunefleet chat RUN --temperature hot",
        "tunefleet evaluate RUN evaluation.beam=2",
        "tunefleet export",
        "tunefleet sweep pin mine optimizer.l=1",
        'echo "play" | tunefleet chatt RUN',
        "make demos",
        "python -m benchmarks.scalling",
        "python -m benchmarks.scaling --gpus 3",
        "python -m pytest tests/date",
        "tunefleets status",
    ],
)
def test_control_a_wrong_command_is_found(text: str) -> None:
    with pytest.raises((ConfigError, AssertionError)):
        expect_right(TypedCommand("a page", text))


NEEDS = re.compile(r"(a GPU|GPUs|a cluster|the network|an account|the weights|public files|other software)\b")


def test_every_command_is_executed_by_a_test_or_says_what_it_needs() -> None:
    neither = [f"{one.place} {one.text}" for one in typed_commands() if not one.need and not executed(one.text)]
    assert neither == []
    assert [f"{one.place} {one.need}" for one in typed_commands() if one.need and not NEEDS.match(one.need)] == []


def executed(text: str) -> str:
    """The test that executes a command; empty where there is none."""
    return next((test for pattern, test in EXECUTED.items() if re.match(pattern, text)), "")


def test_control_a_command_that_no_test_executes_is_found() -> None:
    assert not executed("tunefleet compare RUN OTHER --prompts FILE")


@pytest.mark.parametrize("test", sorted(set(EXECUTED.values())))
def test_tests_that_execute_commands_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name or 'test_'}" in (ROOT / "tests" / file).read_text(encoding="utf-8")


def test_every_row_of_the_table_is_used() -> None:
    texts = [one.text for one in typed_commands() if not one.need]
    unused = set(EXECUTED) - {next((row for row in EXECUTED if re.match(row, text)), "") for text in texts}
    assert not unused


def test_a_block_names_its_language_in_one_word() -> None:
    """The site shows a fence with more behind it as text; without a language no one knows what it is."""
    assert [
        f"{block.page}:{block.line} {block.language}" for block in blocks() if block.language not in LANGUAGES
    ] == []


def test_no_command_hides_in_a_block_of_another_language() -> None:
    hidden = [
        f"{block.page}:{block.line} {line}"
        for block in blocks()
        if block.language == "text"
        for line in block.lines
        if re.match(r"\$? ?(tunefleet [a-z]+|python train\.py) ", line)
    ]
    assert hidden == []


def test_commands_in_sentences_are_there_with_their_options() -> None:
    wrong = [f"{place} {text}" for place, text in inline() if not is_in_the_table(text)]
    assert wrong == []


def is_in_the_table(text: str) -> bool:
    """Whether the command is one, and has every option that is named; sentences leave arguments out."""
    _, command, *rest = text.split()
    if command == "train" or command.startswith("--"):
        return True
    group = options_of(command)
    name = f"{command} {rest[0]}" if rest and set(group) == {"words"} else command
    options = options_of(name)
    return bool(options) and all(word.split("=")[0] in {*options, "--outputs"} for word in rest if word.startswith("-"))


def test_control_a_wrong_command_in_a_sentence_is_found() -> None:
    assert not any(map(is_in_the_table, ("tunefleet shows", "tunefleet data shows", "tunefleet plan --machines")))
    assert all(map(is_in_the_table, ("tunefleet data show --html", "tunefleet sweep stop S 2", "tunefleet train -m")))
