"""Does `tunefleet import` write an experiment that train.py takes, and refuse by name what it cannot?"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.imports.patterns import AXOLOTL, TRL
from tunefleet.base.errors import ConfigError
from tunefleet.doors import compose
from tunefleet.doors.cli import main
from tunefleet.doors.import_file import Wish, drafted
from tunefleet.imports.option_tables import option_tables

DOCUMENT = Path(__file__).parents[2] / "docs" / "coming-from.md"
BEGIN, END = "<!-- tunefleet import --options -->\n", "\n<!-- end -->"
SCRIPT = """#!/bin/bash
# what an answer is tuned with
OUT=$1
STAGE=${2:-}
if [ "$OUT" == "" ]; then
    OUT=./results
fi
if [ "$STAGE" == "" ]; then
    STAGE=2
fi
mkdir -p $OUT
deepspeed --num_gpus 4 main.py \\
   --data_path Dahoas/rm-static \\
   --data_split 4,3,3 \\
   --model_name_or_path facebook/opt-350m \\
   --learning_rate 2e-5 --weight_decay 0. \\
   --zero_stage $STAGE --deepspeed \\
   --output_dir "${OUT}" \\
   &> $OUT/training.log
"""
LINE = """accelerate launch --config_file settings/zero3.yaml --num_processes 2 scripts/sft.py \\
    --model_name_or_path Qwen/Qwen2.5-0.5B --dataset_name example/dialogues --config base.yaml \\
    --learning_rate=3e-5 --packing --use_peft --lora_target_modules q_proj k_proj
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file_of(values: object, name: str = "theirs.yaml") -> Path:
    path = Path(name)
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["import", *words])
    return int(exit_.value.code or 0)


def test_the_experiment_trains_what_the_file_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file_of({**AXOLOTL, "base_model": "NousResearch/Llama-3.2-1B", "flash_attention": True})
    assert run("theirs.yaml", "--machine", "2xH100-80G") == 0
    out = capsys.readouterr().out
    assert "left out    flash_attention=True: is a kernel" in out
    assert "train       python train.py experiment=theirs" in out
    assert "spread     ddp on 2 cuda processes" in out
    text = Path("conf/experiment/theirs.yaml").read_text()
    assert "sequence_length: 3072  # sequence_len" in text
    assert "seed: 42  # Axolotl's default" in text
    assert "#   flash_attention=True: is a kernel" in text
    config = compose.from_overrides(["experiment=theirs"])
    assert (config.train.global_batch, config.optimizer.betas, config.data.path) == (
        6,
        (0.9, 0.999),
        "hub:example/dialogues",
    )
    assert config.model.name == "llama-3.2-1b"


def test_a_file_is_written_over_on_request_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file_of(AXOLOTL)
    target = Path("conf/experiment/theirs.yaml")
    target.parent.mkdir(parents=True)
    target.write_text("mine: 1\n")
    assert run("theirs.yaml") == 2
    assert "is there already. --to FILE writes another one, --overwrite replaces it." in capsys.readouterr().err
    assert target.read_text() == "mine: 1\n"
    assert run("theirs.yaml", "--overwrite") == 0
    assert "base_model" in target.read_text()
    assert run("theirs.yaml", "--to", "elsewhere/experiment/deep/other.yaml") == 0
    assert compose.from_overrides(["--config-dir=elsewhere", "experiment=deep/other"]).train.micro_batch == 3
    assert run("theirs.yaml", "--to", "elsewhere/other.yaml") == 2


def test_what_has_no_counterpart_is_refused_by_name_or_left_out_on_request(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file_of({**AXOLOTL, "use_eaft": True, "frobnicate": 3})
    assert run("theirs.yaml") == 2
    error = capsys.readouterr().err
    assert "theirs.yaml: use_eaft=True: is another loss" in error
    assert "theirs.yaml: frobnicate=3: not in our table of Axolotl's options." in error
    assert "Nothing is written; --without OPTION leaves one out" in error
    assert not Path("conf").exists()
    assert run("theirs.yaml", "--without", "use_eaft", "--without", "frobnicate") == 0
    text = Path("conf/experiment/theirs.yaml").read_text()
    assert "use_eaft: True was left out on request" in text
    assert "frobnicate: 3 was left out on request" in text


def test_a_script_is_read_with_the_variables_that_it_sets(folder: Path) -> None:
    draft = drafted(file_of(SCRIPT, "run.sh"), Wish())
    assert draft.title == "DeepSpeed-Chat"
    assert draft.refusals == []
    expected = {
        "output_dir": "./results",
        "parallel": "zero2",
        "optimizer.lr": 2e-5,
        "optimizer.weight_decay": 0.0,
        "launch.processes": 4,
        "train.global_batch": 64,
        "data.mix": [{"path": "hub:Dahoas/rm-static", "format": "chosen", "epochs": 0.4}],
    }
    assert {key: draft.value(key) for key in expected} == expected


def test_a_command_line_goes_over_the_file_that_it_names(folder: Path) -> None:
    file_of({"learning_rate": 1.0, "max_length": 600}, "base.yaml")
    draft = drafted(file_of(LINE, "tune.sh"), Wish())
    assert (draft.title, draft.refusals) == ("TRL", [])
    expected = {
        "optimizer.lr": 3e-5,
        "train.sequence_length": 600,
        "parallel": "zero3",
        "launch.processes": 2,
        "data.packing": True,
        "adapter.targets": ["q_proj", "k_proj"],
    }
    assert {key: draft.value(key) for key in expected} == expected


def test_processes_of_the_user_come_first(folder: Path) -> None:
    path = file_of({**TRL, "num_processes": 3, "per_device_train_batch_size": 2})
    assert drafted(path, Wish(processes=5)).value("train.global_batch") == 10
    assert drafted(path, Wish(machine_processes=7)).value("train.global_batch") == 6


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "services: {web: {image: x}}\nversion: 3\n", "of its options services, version none is theirs"),
        ("b.yaml", "- 1\n- 2\n", "it holds no options"),
        ("c.yaml", "a: [\n", "broken YAML"),
        ("d.sh", "trl dpo --model_name_or_path x\n", "dpo is another kind of training"),
        ("e.sh", "python sft_vlm.py --model_name_or_path x\n", "sft_vlm is another kind of training"),
        ("f.sh", "echo hello\n", "0 commands that train"),
        ("g.sh", "trl sft --config gone.yaml\n", "--config gone.yaml: not a YAML file beside it"),
        (
            "h.yaml",
            "base_model: x\ndatasets: 3\nlearning_rate: fast\nmicro_batch_size: many\n",
            "learning_rate=fast: 'fast' is no number",
        ),
    ],
)
def test_what_is_no_configuration_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, message: str
) -> None:
    file_of(text, name)
    assert run(name) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_the_share_of_a_folder_is_counted_with_what_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("files/deep").mkdir(parents=True)
    file_of({**AXOLOTL, "sample_packing": True, "warmup_ratio": 0.2}, "files/good.yaml")
    file_of({**AXOLOTL, "qat": {"a": 1}}, "files/qat.yaml")
    file_of({**AXOLOTL, "early_stopping_patience": 3}, "files/deep/early.yml")
    file_of("a: 1\nb: 2\nc: 3\n", "files/other.yaml")
    assert run("--check", "files") == 0
    out = capsys.readouterr().out
    assert "converts   good.yaml (Axolotl)" in out
    assert "refused    qat.yaml (Axolotl)" in out
    assert "no plan    deep/early.yml (Axolotl)\n             train.early_stopping.metric: there are no" in out
    assert "all: 1 of 3 convert and plan (33%), 0 of them nearly" in out
    assert "1 other files hold no configuration" in out
    assert not Path("conf").exists()


def test_a_nested_or_huge_file_is_one_line(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"too deep|broken YAML"):
        drafted(file_of("[" * 5000, "deep.yaml"), Wish())
    with pytest.raises(ConfigError, match="no file of at most"):
        drafted(file_of("# " + "x" * (1 << 20), "long.yaml"), Wish())


def test_the_document_has_the_tables_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == option_tables().strip()
