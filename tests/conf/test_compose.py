"""Does every YAML in conf/ compose and plan, and open with a card that says what it is?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tunefleet.base.errors import ConfigError
from tunefleet.doors.compose import CONF, from_overrides
from tunefleet.plan import Machine, Plan, make

FILES = sorted(path for path in CONF.rglob("*.yaml") if path.relative_to(CONF).parts[0] != "local")
OURS = [path for path in FILES if path.relative_to(CONF).parts[0] != "hydra"]
GROUPS = {
    group.name: {path.stem for path in group.glob("*.yaml")}
    for group in CONF.iterdir()
    if group.is_dir() and group.name not in ("hydra", "local", "__pycache__")
}
CHOICES = sorted((group, choice) for group, choices in GROUPS.items() for choice in choices)
CARD = ("Claim", "Command", "Expected", "Cost")
ARCHITECTURE: dict[str, Any] = {
    "model_type": "opt",
    "vocab_size": 64,
    "hidden_size": 16,
    "ffn_dim": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 512,
}


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty Hugging Face cache, instead of the person's own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(autouse=True)
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of the applications, as `python -m benchmarks.applications prepare` leaves them."""
    folder = tmp_path / "applications"
    monkeypatch.setenv("TUNEFLEET_APPLICATIONS", str(folder))
    for name in ("understanding", "translation", "translation_zh", "voice_assistant_snips"):
        (folder / name / "tokenizer").mkdir(parents=True)
        for file in ("train.jsonl", "validation.jsonl", "test.jsonl", "tokenizer/tokenizer.json"):
            (folder / name / file).write_text("{}\n")
    return folder


@pytest.fixture
def needs(tmp_path: Path) -> dict[tuple[str, str], list[str]]:
    """What a person must add to a choice: their file of rows, their model."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    for name, content in {
        "config.json": json.dumps(ARCHITECTURE),
        "model.safetensors": "",
        "tokenizer.json": "{}",
    }.items():
        (tmp_path / name).write_text(content)
    return {
        ("data", "jsonl"): [f"data.path={rows}"],
        ("data", "mix"): [f"data.mix=[{{path: {rows}, weight: 2}}, {{path: hub:a/b, weight: 1}}]"],
        ("data", "snips"): [f"data.path={tmp_path}/*.jsonl"],
        ("data", "snips-slots"): [f"data.path={tmp_path}/*.jsonl"],
        ("model", "hf"): [f"model.path={tmp_path}"],
        ("parallel", "zero3_nvme"): [
            f"parallel.nvme_path={tmp_path}",
            "checkpoint.every=null",
            "checkpoint.at_end=false",
        ],
        ("adapter", "qlora"): ["model=hf", f"model.path={tmp_path}"],
        ("adapter", "lora_8bit"): ["model=hf", f"model.path={tmp_path}"],
    }


RESOLVED = {("parallel", "auto"): "ddp"}  # a run is named after what was chosen
GPU_ONLY = {("parallel", "zero3_nvme"), ("parallel", "zeropp"), ("optimizer", "adamw_8bit"), ("adapter", "qlora")}
GPU_ONLY |= {("adapter", "lora_8bit")}


def planned(words: list[str], output_dir: Path, gpus: int = 0) -> Plan:
    return make(from_overrides([*words, f"output_dir={output_dir}"]), Machine(gpus=gpus, cores=2))


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_plans(
    group: str,
    choice: str,
    needs: dict[tuple[str, str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("rules.optimizer_rules", "rules.adapter_rules", "rules.run_rules"):  # optional packages
        monkeypatch.setattr(f"tunefleet.plan.{module}.find_spec", lambda name: object())
    from_scratch = ["model.init=random"] if group == "model" and choice != "hf" else []
    words = [f"{group}={choice}", *from_scratch, *needs.get((group, choice), [])]
    plan = planned(words, tmp_path, gpus=2 if (group, choice) in GPU_ONLY else 0)
    if group not in ("experiment", "sweeps", "train", "evaluation", "checkpoint", "tracking", "plan"):
        named = getattr(plan.config, group).name
        assert getattr(named, "value", named) == RESOLVED.get((group, choice), choice)
    if group == "model":
        assert plan.parameters
    assert plan.run_dir.startswith(str(tmp_path))


@pytest.mark.parametrize(("group", "choice"), sorted(GPU_ONLY))
def test_what_needs_a_gpu_says_so_without_one(
    group: str, choice: str, needs: dict[tuple[str, str], list[str]], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"GPU.*Use "):
        planned([f"{group}={choice}", *needs.get((group, choice), [])], tmp_path)


def test_every_group_of_the_configuration_has_a_choice() -> None:
    config = from_overrides([])
    assert set(GROUPS) - {"sweeps"} == {name for name in vars(config) if name not in ("name", "seed", "output_dir")}


def test_a_choice_that_needs_a_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.path: not set"):
        planned(["data=jsonl"], tmp_path)


def test_a_choice_brings_its_settings(tmp_path: Path) -> None:
    config = from_overrides(["parallel=zero2", "optimizer=sgd", "schedule=linear", "tracking=files"])
    assert config.parallel.zero_stage == 2
    assert (config.optimizer.name.value, config.optimizer.momentum) == ("sgd", 0.9)
    assert config.schedule.name.value == "linear"
    assert config.tracking.wandb.value == "disabled"


def test_what_is_typed_wins_over_every_recipe() -> None:
    config = from_overrides(["model=opt-tiny", "train.micro_batch=3", "optimizer.lr=1", "experiment=zero3-smoke"])
    assert config.train.micro_batch == 3
    assert config.optimizer.lr == 1.0


def test_one_run_s_words_do_not_reach_the_next() -> None:
    """Hydra's store of defaults is one for all that is composed in a process."""
    before = from_overrides([])
    assert from_overrides(["optimizer.betas=[0.1,0.2]", "model.name=other", "train.clip=7"]) != before
    assert from_overrides([]) == before


def test_the_seed_reaches_the_training_loop() -> None:
    assert from_overrides(["seed=9"]).train.seed == 9


def test_an_experiment_carries_its_card() -> None:
    assert GROUPS["experiment"]
    for choice in GROUPS["experiment"]:
        card = from_overrides([f"experiment={choice}"]).experiment
        assert card.claim
        assert card.expected
        assert card.cost


# The files themselves


def comment(path: Path) -> list[str]:
    """The comment at the top, without its marks and Hydra's own line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.lstrip("# ") for line in lines[:end] if not line.startswith("# @package")]


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_opens_with_a_card(path: Path) -> None:
    card = comment(path)
    assert card
    assert len(card[0]) > 20


def experiment_name(path: Path) -> str:
    """As it is typed, such as `recipes/opt-66b-zero3-slurm`."""
    return str(path.relative_to(CONF / "experiment").with_suffix(""))


@pytest.mark.parametrize("path", sorted((CONF / "experiment").rglob("*.yaml")), ids=experiment_name)
def test_an_experiment_opens_with_claim_command_expected_and_cost(path: Path) -> None:
    card = comment(path)
    assert [line.split(":")[0] for line in card if line.split(":")[0] in CARD] == list(CARD)
    assert f"python train.py experiment={experiment_name(path)}" in "\n".join(card)


def test_an_experiment_without_its_files_says_in_one_line_how_to_get_them(tmp_path: Path, prepared: Path) -> None:
    (prepared / "understanding" / "train.jsonl").unlink()
    with pytest.raises(ConfigError) as error:
        planned(["experiment=understanding"], tmp_path)
    (complaint,) = error.value.complaints
    assert "train.jsonl is not there yet" in complaint
    assert "prepare understanding" in complaint
    assert "https://github.com/clinc/oos-eval" in complaint


@pytest.mark.parametrize("path", sorted((CONF / "model").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_model_is_named_as_its_file(path: Path) -> None:
    values: Any = OmegaConf.load(path)
    assert values.get("model", values).name == path.stem


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_nothing_is_instantiated_from_yaml(path: Path) -> None:
    assert "_target_" not in path.read_text(encoding="utf-8")


def test_a_key_that_is_no_setting_is_found(tmp_path: Path) -> None:
    """Control: what makes `test_every_choice_composes_and_plans` refuse a stray key."""
    (tmp_path / "train.yaml").write_text("defaults:\n  - base\n  - parallel: x\n  - _self_\n")
    (tmp_path / "parallel").mkdir()
    (tmp_path / "parallel" / "x.yaml").write_text("name: x\nzero_stag: 3\n")
    with pytest.raises(ConfigError, match=r"parallel\.zero_stag: unknown key\. Did you mean 'parallel\.zero_stage'"):
        from_overrides([], tmp_path)
