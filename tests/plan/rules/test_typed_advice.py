"""Is every setting that a refusal advises accepted where it is advised?

Each situation is typed, each piece of advice in its complaints is typed behind it, and there must be fewer complaints.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plans import LLAMA, OPT, rows_file, tokenizer_folder
from tunefleet import plan as plan_package
from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.load import dump, load
from tunefleet.plan import Machine, make
from tunefleet.plan.rules import all_rules
from tunefleet.plan.rules.request import on_config

CONF = Path(__file__).parents[3] / "conf"
CPU, FOUR, GPUS = Machine(cores=8), Machine(cores=8, world_size=4), Machine(gpus=8, cores=8)
BLOOM = "model.architecture={model_type: bloom, vocab_size: 97, hidden_size: 32, n_layer: 2, n_head: 4}"
RWKV = "model.architecture={model_type: rwkv, vocab_size: 64, hidden_size: 16, num_hidden_layers: 2}"
DEEP = "model.architecture={layerdrop: 0.1}"
NVME = ("parallel=zero3_nvme", "parallel.nvme_path=/scratch")

ONE_MISTAKE: list[tuple[Machine, Sequence[str]]] = [
    (FOUR, ["train.micro_batch=4", "train.global_batch=24"]),
    (FOUR, ["train.micro_batch=4", "train.global_batch=8"]),
    (FOUR, ["parallel=zero2", "train.precision=fp16"]),
    (FOUR, ["train.master_weights=false"]),
    (FOUR, ["parallel=zero2", "train.master_weights=false", "train.precision=fp32"]),
    (Machine(cores=8, world_size=4, launcher="torchrun"), ["launch.restarts=2"]),
    (CPU, [RWKV]),
    (CPU, [BLOOM, "model.attention=document"]),
    (GPUS, ["model.attention=document", "train.precision=fp32"]),
    (CPU, ["train.sequence_length=100"]),
    (CPU, ["tracking.log_every=0"]),
    (CPU, ["tracking=files", "tracking.artifacts=[plan]"]),
    (CPU, ["train.micro_batch=auto"]),
    (FOUR, ["train.micro_batch=auto", "train.global_batch=6"]),
    (FOUR, ["parallel=auto", "parallel.tensor=2"]),
    (FOUR, ["parallel=tensor", "parallel.zero_stage=3"]),
    (FOUR, ["parallel=tensor", "parallel.sequence=2"]),
    (FOUR, ["parallel=tensor", "train.precision=fp16"]),
    (GPUS, ["parallel=tensor", "train.precision=fp16"]),
    (FOUR, ["parallel=tensor", RWKV, "data.packing=false"]),
    (FOUR, ["parallel=tensor", "parallel.tensor=3"]),
    (Machine(cores=8, world_size=3), ["parallel=tensor", "parallel.tensor=3"]),
    (FOUR, ["parallel=tensor", "optimizer=muon"]),
    (FOUR, ["parallel=tensor_zero1", "optimizer=muon"]),
    (FOUR, ["parallel=tensor_pipeline", "optimizer=muon"]),
    (FOUR, ["parallel=tensor", "optimizer=adafactor"]),
    (FOUR, ["parallel=zero3", "optimizer=muon"]),
    (GPUS, ["parallel=zero2_offload", "optimizer=adafactor"]),
    (GPUS, ["parallel=zero2_offload", "optimizer=adamw_8bit"]),
    (CPU, ["optimizer=adamw_8bit"]),
    (GPUS, ["optimizer=adamw_8bit"]),
    (GPUS, [*NVME, "checkpoint.every=null", "checkpoint.at_end=false", "optimizer=lion"]),
    (GPUS, [*NVME, "checkpoint.at_end=false"]),
    (GPUS, NVME),
    (FOUR, [*NVME, "parallel.offload_optimizer=cpu"]),
    (FOUR, ["parallel=zeropp"]),
    (GPUS, ["parallel=zeropp", "parallel.hierarchical=3"]),
    (GPUS, ["parallel=zero2", "parallel.quantized_weights=true"]),
    (GPUS, ["parallel=ddp", "parallel.offload_optimizer=cpu"]),
    (GPUS, ["parallel=zero2", "parallel.offload_parameters=cpu"]),
    (GPUS, ["parallel=zero2", "parallel.hierarchical=null"]),
    (FOUR, ["parallel=pipeline", "parallel.sequence=2"]),
    (FOUR, ["parallel=sequence", RWKV, "data.packing=false"]),
    (Machine(cores=8, world_size=3), ["parallel=sequence", "parallel.sequence=3"]),
    (FOUR, ["parallel=pipeline", "parallel.zero_stage=2"]),
    (FOUR, ["parallel=pipeline_zero1", "parallel.offload_optimizer=cpu"]),
    (GPUS, ["parallel=pipeline", "train.precision=fp16"]),
    (FOUR, ["parallel=pipeline", "train.precision=fp16"]),
    (FOUR, ["parallel=pipeline", RWKV, "data.packing=false"]),
    (FOUR, ["parallel=pipeline", DEEP]),
    (FOUR, ["parallel=zero1", "parallel.pipeline=2", DEEP]),
    (FOUR, ["parallel=ddp", "parallel.tensor=2", RWKV, "data.packing=false"]),
    (FOUR, ["parallel=zero2", "parallel.sequence=2", RWKV, "data.packing=false"]),
    (FOUR, ["parallel=pipeline", "parallel.pipeline=4"]),
    (FOUR, ["parallel=single"]),
    (CPU, ["parallel=single", "launch.processes=4"]),
    (FOUR, ["parallel=tensor_pipeline", "parallel.tensor=2", "parallel.pipeline=4"]),
    (Machine(cores=8, world_size=3), ["parallel=tensor"]),
    (CPU, ["adapter.rank=3"]),
    (CPU, ["model.freeze=['*']"]),
    (FOUR, ["parallel=tensor", "model.freeze=['*embed*']"]),
    (FOUR, ["parallel=tensor", "adapter=lora"]),
    (FOUR, ["parallel=pipeline", "adapter=lora"]),
    (CPU, ["adapter=lora", "adapter.merge=false"]),
    (CPU, ["adapter=qlora", "model.init=pretrained"]),
    (GPUS, ["adapter=qlora", "model.init=pretrained"]),
    (GPUS, ["adapter=qlora", "model.init=pretrained", "adapter.merge=true"]),
    (CPU, ["data.mix=[{path: demo, weight: 1.0}]"]),
    (CPU, ["model.init=pretrained", "model.num_layers=1"]),
]
MISTAKES = [
    ["optimizer=muon"],
    ["optimizer=adafactor"],
    ["optimizer=adamw_8bit"],
    ["train.precision=fp16"],
    ["train.precision=bf16", "train.master_weights=false"],
    ["adapter=lora"],
    ["adapter=qlora"],
    ["model.freeze=['*embed*']"],
    ["train.sequence_length=100"],
    ["parallel.offload_optimizer=cpu"],
    ["parallel.quantized_gradients=true"],
    ["parallel.sequence=2"],
]
STRATEGIES = sorted({path.stem for path in (CONF / "parallel").glob("*.yaml")} - {"auto", "single"})
"""Without those whose refusal hides the others: nothing more is known before it is mended."""
PAIRS = [[f"parallel={strategy}", *words] for strategy, words in itertools.product(STRATEGIES, MISTAKES)]


def typed(folder: Path, words: Sequence[str]) -> RunConfig:
    """What `words` make of a tiny model from scratch: choices of groups first, then keys, the last of a kind counts."""
    said = dict(word.split("=", 1) for word in words)
    values = dump(RunConfig())
    values["output_dir"] = str(folder)
    values["data"] |= {"path": str(rows_file(folder)), "tokenizer": str(tokenizer_folder(folder))}
    values["model"] |= {"name": "mine", "init": "random", "architecture": LLAMA, "path": str(_files(folder))}
    values["train"] |= {"precision": "fp32", "sequence_length": 48, "micro_batch": 4}
    for group in [key for key in said if "." not in key]:
        _choose(values, group, (CONF / group / f"{said[group]}.yaml").read_text())
    for key in [key for key in said if "." in key]:
        group, name = key.split(".")
        value = yaml.safe_load(said[key])
        if key == "model.architecture" and "model_type" not in value:
            value = {**OPT, **value}
        values[group][name] = value
    return load(RunConfig, values)


def _choose(values: Any, group: str, text: str) -> None:
    """What a file of `conf` says, of its own group or of several."""
    said = yaml.safe_load(text) or {}
    values[group] = dump(RunConfig())[group]
    for name, settings in (said if "@package _global_" in text else {group: said}).items():
        values[name] = values[name] | settings


def _files(folder: Path) -> Path:
    """What the planner takes for a pretrained model."""
    import json

    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(LLAMA))
    for name in ("model.safetensors", "tokenizer.json"):
        (model / name).write_text("{}")
    return model


def complaints(folder: Path, machine: Machine, words: Sequence[str]) -> Sequence[str]:
    """Why the run is refused; nothing where it is planned."""
    return _complaints(folder, machine, tuple(words))


@cache
def _complaints(folder: Path, machine: Machine, words: tuple[str, ...]) -> Sequence[str]:
    try:
        make(typed(folder, words), machine)
    except ConfigError as error:
        return error.complaints
    return ()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, so that nothing is planned twice."""
    return tmp_path_factory.mktemp("typed")


_WORD = r"[a-z]+(?:\.[a-z_]+)*=(?:\[[^\]]*\]|[^\s,;()]+)"


def advised(complaint: str) -> list[list[str]]:
    """The settings that a complaint advises; those that stand side by side are typed together."""
    begin = re.search(r"(?<=[.:;,)] )([Uu]se|[Ss]et|Add|Give|[Oo]r use|or set) ", complaint)
    text = complaint[begin.start() :] if begin else ""
    found = []
    for match in re.finditer(rf"{_WORD}(?: {_WORD})*((?:,? or [\w.-]+(?![\w.]*=))*)", text):
        typed_together = [word.rstrip(".") for word in re.findall(_WORD, match[0])]
        found.append(typed_together)
        key = typed_together[-1].split("=")[0]
        others = re.findall(r" or ([\w.-]+)", match[1])
        found += [[f"{key}={other.rstrip('.')}"] for other in others if _is_value(key, other.rstrip("."))]
    return [words for words in found if not any(word.split("=")[1].isupper() for word in words)]


def _is_value(key: str, word: str) -> bool:
    return word.isdigit() if "." in key else (CONF / key / f"{word}.yaml").exists()


def failures(folder: Path, machine: Machine, words: Sequence[str]) -> Iterator[str]:
    """Advice that leaves as many complaints as there were."""
    before = complaints(folder, machine, words)
    for complaint in before:
        for advice in advised(complaint):
            after = complaints(folder, machine, [*words, *advice])
            if len(after) >= len(before):
                yield f"{' '.join(words)} on {machine}: {complaint}\n   {' '.join(advice)}: {after}"


@pytest.fixture(autouse=True)
def without_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rules.adapter_rules", "rules.optimizer_rules"):
        monkeypatch.setattr(f"tunefleet.plan.{module}.find_spec", lambda name: None)


@pytest.mark.parametrize(
    ("machine", "words"), ONE_MISTAKE, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_advice_for_one_mistake_makes_a_plan(folder: Path, machine: Machine, words: Sequence[str]) -> None:
    found = complaints(folder, machine, words)
    assert found, "this is no mistake"
    assert list(failures(folder, machine, words)) == []


@pytest.mark.parametrize("machine", [FOUR, pytest.param(GPUS, marks=pytest.mark.exhaustive)], ids=["cpu", "gpus"])
def test_advice_for_two_mistakes_leaves_fewer(folder: Path, machine: Machine) -> None:
    """Every strategy with every mistake, on four processes and on eight GPUs."""
    assert [failure for words in PAIRS for failure in failures(folder, machine, words)] == []


def test_every_advice_of_the_plan_is_typed_here(folder: Path) -> None:
    """What stands in the source as `Use key=value` is in a complaint above."""
    situations = [*ONE_MISTAKE, *((FOUR, words) for words in PAIRS)]
    said = "\n".join(c for machine, words in situations for c in complaints(folder, machine, words))
    assert sorted(chunk for chunk in _chunks() if chunk not in said) == []


def _chunks() -> Iterator[str]:
    """Pieces of literals in the plan's modules with advice in them, as far as no value is filled in."""
    for path in sorted(Path(plan_package.__file__).parent.rglob("*.py")):
        if path.stem in _ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from re.findall(rf"[Uu]se {_WORD}", node.value)


def test_no_rule_is_told_twice(folder: Path) -> None:
    """Two complaints about one setting that advise the same are one rule in two places."""
    situations = [*ONE_MISTAKE, *((FOUR, words) for words in PAIRS)]
    assert [line for machine, words in situations for line in twice(complaints(folder, machine, words))] == []


def twice(complaints: Sequence[str]) -> list[tuple[str, str]]:
    """Settings with their advice that two of the complaints name."""
    named = [(complaint.split(":")[0], *map(tuple, advised(complaint))) for complaint in complaints]
    return [key for number, key in enumerate(named) if len(key) > 1 and key in named[:number]]


def test_control_a_rule_in_two_places_is_noticed() -> None:
    """As it was: fp16 was refused for tensor parallelism and again for a pipeline."""
    first = "train.precision: peers would skip different steps. Use train.precision=bf16."
    second = "train.precision: each stage would find a loss scale of its own. Use train.precision=bf16."
    assert twice([first, second])
    assert not twice([first, "parallel: no. Use train.precision=bf16.", "x: no.", "x: no."])


_ELSEWHERE = ("sbatch_options", "slots", "precision", "fit_check", "gpus", "advice", "auto")
"""Modules whose complaints have tests of their own, or that write notes."""


@pytest.mark.parametrize(
    ("complaint", "expected"),
    [
        ("optimizer: no. Use parallel=ddp, or optimizer=adamw.", [["parallel=ddp"], ["optimizer=adamw"]]),
        (
            "a=1: no. Use parallel=zero1 train.precision=bf16, or leave it out.",
            [["parallel=zero1", "train.precision=bf16"]],
        ),
        ("x: no. Use parallel.tensor=2 or 4.", [["parallel.tensor=2"], ["parallel.tensor=4"]]),
        ("x: no. Use parallel=zero3 or zero2.", [["parallel=zero3"], ["parallel=zero2"]]),
        ("x: parallel.tensor=2 is not offered.", []),
        ("x: not set. Give model.path=FOLDER.", []),
    ],
)
def test_advice_is_read_from_a_complaint(complaint: str, expected: list[list[str]]) -> None:
    assert advised(complaint) == expected


def test_control_advice_that_is_refused_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was: Muon with tensor was told to use zero2, which refuses Muon."""
    advises = on_config(lambda config: ["optimizer: no. Use parallel=zero2."] if config.parallel.tensor > 1 else [])
    refuses = on_config(lambda config: ["optimizer: no."] if config.parallel.zero_stage else [])
    monkeypatch.setattr(all_rules, "RULES", (advises, refuses))
    (failure,) = failures(tmp_path, FOUR, ["parallel=tensor", "optimizer=muon"])
    assert "parallel=zero2: ('optimizer: no.',)" in failure
