"""Does an override mean what it means in Hydra, does text stay text, and is every mistake told with what to type?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.spellings import SPELLINGS
from tunefleet.config.suggest import every_key
from tunefleet.doors import arguments, compose, overrides
from tunefleet.doors.compose import from_overrides


def complaints(*words: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_overrides(words)
    return list(caught.value.complaints)


# Hydra's meaning, against Hydra as it comes


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer.lr=1e-4", "optimizer.lr=2e-4"],  # the last one holds
        ["++optimizer.lr=1e-4", "optimizer.lr=2e-4"],
        ["train.max_steps=3", "experiment=zero3-smoke"],  # values after groups, wherever they stand
        ["model=gpt2", "model=opt-125m"],
        ["~optimizer.weight_decay", "parallel=zero2"],
        ["~experiment"],
        ["+launch.extra.licenses=a", "+launch.extra={hold: b}"],
        ["model.architecture={vocab_size: 7}"],
        ["data={path: x, template: plain}"],
        ["optimizer.betas=[0.1,0.2]"],
        ["name='a, b'", 'output_dir="x y"'],
        ["train.seed=${seed}", "seed=8"],
        ["data.max_rows=null", "train.on_oom=stop"],
        ["tracking.tags=[a,'b c']"],
    ],
    ids=" ".join,
)
def test_words_compose_what_hydra_composes(words: list[str]) -> None:
    compose.register_defaults()
    with initialize_config_dir(str(compose.CONF), version_base="1.3"):
        expected = hydra_compose("train", words)
    assert OmegaConf.to_container(composed(words), resolve=True) == OmegaConf.to_container(expected, resolve=True)


def composed(words: list[str]) -> DictConfig:
    from hydra.types import RunMode

    typed = arguments.parse(words, with_project_conf=False)
    config = compose.opened(typed).load_configuration("train", list(typed.overrides), RunMode.RUN)
    del config._set_flag("struct", False)["hydra"]  # type: ignore[attr-defined]
    return config


@pytest.mark.parametrize("words", [["+optimizer.lr=1"], ["~nothing"], ["+model=gpt2"], ["++model=gpt2"], ["hydra.x=1"]])
def test_what_hydra_refuses_is_refused_in_one_line(words: list[str]) -> None:
    (complaint,) = complaints(*words)
    assert "\n" not in complaint
    assert words[0].lstrip("+~").split("=")[0] in complaint


# Text


TEXTS = ["2024_11_28", "1e5", "007", "1_000", "true", "False", "nan", "0x10", "1.50", "-3", "on", "12:30:00", "''"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("key", ["name", "launch.qos", "output_dir"])
def test_text_that_looks_like_a_number_stays_text(key: str, text: str) -> None:
    parsed = overrides.parse(f"{key}={text}")
    assert parsed.value() == text.strip("'")
    repeated = overrides.parse(f"{key}={parsed.get_value_element_as_str()}")  # as the words of a grid's points are made
    assert repeated.value() == text.strip("'")


def test_text_inside_lists_and_groups_stays_text() -> None:
    launch = from_overrides(["launch.setup=[1e5,a]", "launch.extra={licenses: 1_0}"]).launch
    assert launch.setup == ("1e5", "a")
    assert launch.extra == {"licenses": "1_0"}
    assert overrides.parse("data.mix=[{path: 1_0, weight: 1_0}]").value() == [{"path": "1_0", "weight": 10}]


def test_control_a_number_stays_a_number() -> None:
    """What Hydra's own grammar makes of the same words: where the setting is a number, so do we."""
    assert OverridesParser.create().parse_override("name=2024_11_28").value() == 20241128
    assert overrides.parse("seed=1_0").value() == 10
    assert overrides.parse("model.architecture={hidden_size: 1_0}").value() == {"hidden_size": 10}
    assert overrides.parse("name=null").value() is None
    assert overrides.parse("name='null'").value() == "null"


# Grammar


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.path", "a=b.jsonl"),
        ("data.path", "größe.jsonl"),
        ("launch.constraint", "a100&ib"),
        ("data.path", "(x)"),
        ("data.instruction", 'say "a=b" & c'),
        ("name", "it's"),
        ("data.path", "C:\\x=y"),
        ("data.path", "#1"),
        ("data.path", "a[b"),
    ],
)
def test_what_the_grammar_does_not_take_is_printed_as_it_must_be_typed(key: str, value: str) -> None:
    (complaint,) = complaints(f"{key}={value}")
    assert complaint.startswith(f"{key}: {value!r} needs quotes")
    (typed,) = shlex.split(complaint.split(" Type ")[1])  # what a shell makes of it
    assert overrides.parse(typed).value() == value


def test_items_of_a_list_are_quoted_one_by_one() -> None:
    """The line of docs/slurm.md for pyxis, before it had its quotes."""
    items = ["--container-image=/images/torch.sqsh", "--container-mounts=/data:/data"]
    (complaint,) = complaints(f"launch.srun_args=[{','.join(items)}]")
    (typed,) = shlex.split(complaint.split(" Type ")[1])
    assert overrides.parse(typed).value() == items


def test_an_open_bracket_is_said() -> None:
    assert complaints("train.max_steps=[1")[0].startswith(
        "train.max_steps: '[1' opens a bracket that it does not close"
    )


def test_several_values_need_a_grid() -> None:
    (complaint,) = complaints("seed=1,2")
    assert complaint.startswith("seed: 1,2 is several values. A grid of them needs -m")


# Every mistake at once


def test_choices_keys_grammar_and_options_are_named_together() -> None:
    actual = complaints(
        "model=opt-1.4b", "parallel=zero9", "lr=1", "train.lr=1", "data.path=a=b", "--bf16", "train.clip=x"
    )
    assert [complaint.split(":")[0] for complaint in actual] == [
        "--bf16",
        "model",
        "parallel",
        "data.path",
        "lr",
        "train.lr",
        "train.clip",
    ]


@pytest.mark.parametrize("override", [f"data={'a' * 400}", f"+data.{'9' * 400}=1", f"model.{'9' * 400}=1"])
def test_what_is_longer_than_a_name_of_a_file_is_named_as_well(override: str) -> None:
    (complaint,) = complaints(override)
    assert complaint.startswith(override.removeprefix("+").split("=")[0])


def test_a_choice_like_no_other_lists_what_there_is() -> None:
    assert complaints("schedule=qqqq") == [
        "schedule: no choice named 'qqqq'. Known: constant, cosine, inverse_sqrt, linear, polynomial, wsd."
    ]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["optimizer.lr=", "1e-3"], "optimizer.lr= 1e-3: there is a space beside the =. Type optimizer.lr=1e-3"),
        (["optimizer.lr", "=", "1e-3"], "optimizer.lr = 1e-3: there is a space beside the =. Type optimizer.lr=1e-3"),
        (["optimizer.lr", "=1e-3"], "optimizer.lr =1e-3: there is a space beside the =. Type optimizer.lr=1e-3"),
        (["train.lr=1"], "train.lr: unknown key. Did you mean 'optimizer.lr'?"),
        (["optimizer.learning_rate=1"], "optimizer.learning_rate: unknown key. Did you mean 'optimizer.lr'?"),
        (["--lr", "1e-3"], "--lr 1e-3: no such option. Did you mean 'optimizer.lr=1e-3'?"),
        (["--learning_rate=1e-3"], "--learning_rate=1e-3: no such option. Did you mean 'optimizer.lr=1e-3'?"),
        (
            ["--per-device-train-batch-size", "4"],
            "--per-device-train-batch-size 4: no such option. Did you mean 'train.",
        ),
        (["--bf16"], "--bf16: no such option. Did you mean 'train.precision=bf16'?"),
        (["--train.epochs=2"], "--train.epochs=2: no such option. Did you mean 'train.epochs=2'?"),
        (["lora=true"], "lora: unknown key. Did you mean 'adapter=lora'?"),
        (["lora_r=8"], "lora_r: unknown key. Did you mean 'adapter.rank'?"),
        (["lr"], "lr: not an override. Settings are typed as group.key=value"),
        (["model/gpt2=x"], "model/gpt2: no such group. Did you mean 'model'?"),
        (["--cfg", "job"], "--cfg: only `tunefleet train` and train.py take it."),
        (["-m"], "-m: only `tunefleet train` and train.py take it."),
        (["--config-dir=/nowhere"], "--config-dir: /nowhere is not a folder"),
        (["hydra.searchpath=[/nowhere]"], "hydra.searchpath in command-line: file:///nowhere is not there"),
    ],
)
def test_a_habit_from_elsewhere_is_told_the_right_key(words: list[str], meant: str) -> None:
    (complaint,) = complaints(*words)
    assert complaint.startswith(meant)


@pytest.mark.parametrize("theirs", sorted(SPELLINGS))
def test_a_spelling_of_another_tool_leads_to_a_setting_of_ours(theirs: str) -> None:
    """The key exists; a choice or a switch composes."""
    for word in SPELLINGS[theirs].split():
        key, equals, value = word.partition("=")
        assert key in every_key(RunConfig) or key == "--config-name"
        if equals:
            parsed = overrides.parse(word)
            assert parsed.key_or_group == key
            assert value


def test_switches_of_other_tools_compose() -> None:
    switches = sorted({word for meant in SPELLINGS.values() for word in meant.split() if "=" in word})
    assert switches
    for word in switches:
        assert from_overrides([word])


def test_what_the_deepspeed_launcher_adds_is_left_out() -> None:
    assert arguments.parse(["--local_rank=1", "--local-rank=1", "seed=1"]).overrides == ("seed=1",)


def test_options_may_stand_anywhere(tmp_path: Path) -> None:
    typed = arguments.parse(["seed=1", "-m", "name=a,b", "-cd", str(tmp_path), "-cd", "."])
    assert typed.multirun
    assert typed.overrides == ("seed=1", "name=a,b")
    assert typed.config_dirs[:2] == (str(tmp_path), str(Path.cwd()))


# Hydra's settings that do nothing here


IDLE = {
    "hydra.run.dir=x": "output_dir=",
    "hydra.sweep.dir=x": "output_dir=",
    "hydra.sweep.subdir=x": "name=",
    "hydra.job.name=x": "name=",
    "hydra.output_subdir=x": "plan.json",
    "hydra.job.chdir=true": "output_dir=",
    "+hydra.job.env_set.A=b": "launch.setup",
    "hydra.job.env_copy=[HOME]": "launch.setup",
    "hydra.verbose=true": "--info",
    "hydra/job_logging=stdout": "--info",
    "hydra/hydra_logging=hydra_debug": "--info",
    "+hydra.callbacks.x={_target_: y}": "status.json",
    "hydra.runtime.cwd=x": "Hydra fills it in itself",
    "hydra.job.num=3": "Hydra fills it in itself",
    "hydra.overrides.task=[a]": "Hydra fills it in itself",
    "hydra.sweeper.max_batch_size=2": "launch.parallel_runs",
    "hydra/launcher=basic": "launch=slurm",
    "hydra.launcher._target_=hydra._internal.core_plugins.basic_launcher.BasicLauncher": "launch=slurm",
    "hydra.sweeper._target_=hydra._internal.core_plugins.basic_sweeper.BasicSweeper": "launch=slurm",
    "hydra/sweeper=basic": "launch=slurm",
}


@pytest.mark.parametrize("word", IDLE)
def test_a_setting_of_hydras_that_does_nothing_is_refused_with_the_one_to_use(word: str) -> None:
    complaint = complaints(word)[-1]  # env_copy fills env_set too
    assert complaint.startswith(word.split("=")[0].lstrip("+").removesuffix(".x").removesuffix(".A"))
    assert IDLE[word] in complaint


def test_the_same_from_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "x.yaml").write_text("# @package _global_\nhydra:\n  run:\n    dir: elsewhere\n")
    (complaint,) = complaints(f"--config-dir={tmp_path}", "experiment=x")
    assert complaint.startswith("hydra.run.dir: does nothing here.")


@pytest.mark.parametrize(
    "word", ["hydra.output_subdir=null", "hydra.job.chdir=false", "hydra.run.dir=.", "hydra.mode=RUN"]
)
def test_control_one_that_asks_for_nothing_is_let_through(word: str) -> None:
    assert from_overrides([word]) == from_overrides([])


def every_hydra_key(config: Any, prefix: str = "hydra") -> list[str]:
    if not isinstance(config, dict) or not config:
        return [prefix]
    return [key for name, value in config.items() for key in every_hydra_key(value, f"{prefix}.{name}")]


OBEYED = ("hydra.mode", "hydra.searchpath", "hydra.help.", "hydra.hydra_help.", "hydra.sweeper.params")
OF_PLUGINS = ("hydra.launcher", "hydra.sweeper", "hydra.hydra_logging", "hydra.job_logging", "hydra.runtime")


def test_every_setting_of_hydras_is_obeyed_or_refused() -> None:
    """Walks HydraConf itself, so that one that a later Hydra adds is seen."""
    from hydra.conf import HydraConf

    keys = every_hydra_key(OmegaConf.to_container(OmegaConf.structured(HydraConf())))
    refused = [word.split("=")[0].lstrip("+").removesuffix(".x").removesuffix(".A") for word in IDLE]
    names = [
        *refused,
        *OBEYED,
        *OF_PLUGINS,
        "hydra.defaults",
        "hydra.overrides",
        "hydra.job.id",
        "hydra.job.config_name",
    ]
    names += ["hydra.job.override_dirname", "hydra.job.config.override_dirname"]  # obeyed: the text of ${hydra:job...}
    assert [key for key in keys if not key.startswith(tuple(names))] == []
