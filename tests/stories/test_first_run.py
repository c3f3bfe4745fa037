"""What a new user sees: the demo from the first line to the next three commands, and what lies on the disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.shared import shared_data
from tests.stories.commands import SMALL, metrics, run_folder, status, train, tunefleet

OVERRIDES = ["data.max_rows=300", "data.validation_rows=6", "evaluation.generate_rows=2", "train.max_steps=4"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, train(folder, *OVERRIDES, "train.global_batch=8", "train.micro_batch=4")


def test_says_what_is_about_to_run(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    name = run_folder(folder).name
    assert f"saved to   outputs/{name}" in printed
    assert "8 sequences = 4 micro x 2 accumulation x 1 data-parallel" in printed
    assert "opt-tiny (opt): " in printed
    assert "demo: 300 conversations in " in printed


def test_shows_progress_results_samples_curve_and_next_commands(demo: tuple[Path, str]) -> None:
    _, printed = demo
    assert "step 4/4  loss " in printed
    assert "training loss against optimizer steps" not in printed  # four steps are no curve
    assert re.search(r"^export +outputs/\S+/export$", printed, re.MULTILINE)
    assert "unseen values" in printed
    assert printed.count("    -> ") == 5
    assert len(printed.split("next:\n")[1].splitlines()) == 3


def test_leaves_metrics_status_samples_curve_export_and_checkpoint(demo: tuple[Path, str]) -> None:
    run = run_folder(demo[0])
    steps = [record["step"] for record in metrics(run) if "train/loss" in record]
    assert steps == [1, 2, 3, 4]
    assert status(run)["state"] == "finished"
    assert len((run / "samples.jsonl").read_text().splitlines()) == 8  # two of each split
    assert (run / "loss.png").read_bytes()[:4] == b"\x89PNG"
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {
        path.name for path in (run / "export").iterdir()
    }
    pointer = json.loads((run / "checkpoints" / "latest.json").read_text())
    assert pointer["checkpoint"] == "step-00000004"


def test_weights_and_biases_has_the_run_offline(demo: tuple[Path, str]) -> None:
    (variables,) = (run_folder(demo[0]) / "wandb").glob("offline-run-*/run-*.wandb")
    content = variables.read_bytes()
    for record_name in (b"train/loss", b"by_tokens/loss", b"evaluation/unseen_values/exact_match", b"loss_tokens"):
        assert record_name in content


def test_the_same_command_again_says_that_it_is_done(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    previous = (run_folder(folder) / "metrics.jsonl").read_bytes()
    assert "is done: 4 steps" in train(folder, *OVERRIDES, "train.global_batch=8", "train.micro_batch=4")
    assert (run_folder(folder) / "metrics.jsonl").read_bytes() == previous


def test_the_export_measures_the_same_as_the_run(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    repeated = tunefleet(folder, "evaluate", str(run_folder(folder)))
    measured = re.findall(r"^(unseen \w+ +loss [\d.]+), perplexity", printed, re.MULTILINE)
    assert len(measured) == 4, printed  # the demo's four validation splits
    for split_and_loss in measured:
        assert " ".join(split_and_loss.split()) in " ".join(repeated.split())


def test_chat_answers_a_pipe_with_the_answer_alone(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    output = tunefleet(folder, "chat", str(run_folder(folder)), "--max-tokens", "5", typed="play some jazz\n")
    assert "Traceback" not in output
    assert len(output.split()) in range(1, 6)


def test_a_grid_runs_every_point_and_ends_with_a_table(tmp_path: Path) -> None:
    printed = train(tmp_path, "-m", "optimizer.lr=1e-3,3e-3", "train.max_steps=2", "checkpoint.export=false", *SMALL)
    assert len(list((tmp_path / "outputs").glob("*/plan.json"))) == 2
    table = printed.split("point ")[-1]
    assert table.count("finished") == 2
    assert "optimizer.lr=0.001" in table or "optimizer.lr=1e-3" in table


def test_a_point_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 40)
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": \n')
    arguments = ["-m", "data=jsonl", "data.path=bad.jsonl,good.jsonl", "train.max_steps=2", "tracking=files"]
    printed = train(tmp_path, *arguments, "evaluation.generate_rows=0", "checkpoint.export=false", code=1)
    assert "bad.jsonl:2: broken JSON" in printed
    table = printed.split("point ")[-1]
    assert "failed" in table
    assert "finished" in table


def test_real_instructions_fine_tune_a_real_pretrained_model(tmp_path: Path) -> None:
    rows = shared_data("alpaca_52k/alpaca_data.json")
    model = shared_data("stories260k/hf/config.json").parent
    printed = train(
        tmp_path, "data=alpaca", f"data.path={rows}", "model=hf", f"model.path={model}", *SMALL[:1], "tracking=files",
        "train.max_steps=15", "optimizer.lr=1e-3", "train.precision=fp32", "evaluation.generate_rows=1",
        "checkpoint.export=false",
    )  # fmt: skip
    losses = [record["train/loss"] for record in metrics(run_folder(tmp_path)) if "train/loss" in record]
    assert losses[0] < 5.0  # 6.24 would be a model that knows nothing of its 512 tokens
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5
    assert "(llama): 260k parameters" in printed


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.exhaustive), 2])
def test_the_headline_command_from_scratch(tmp_path: Path, ranks: int) -> None:
    arguments = ["parallel=zero3", "model=opt-1.3b", "model.init=random", "model.num_layers=2", "data=demo"]
    arguments += [f"launch.processes={ranks}", "data.max_rows=300", "data.validation_rows=2"]
    arguments += ["train.max_steps=2", "train.sequence_length=64"]
    train(
        tmp_path,
        *arguments,
        "train.micro_batch=1",
        "evaluation.generate_rows=0",
        "checkpoint.export=false",
        "checkpoint.at_end=false",
    )
    losses = [record["train/loss"] for record in metrics(run_folder(tmp_path)) if "train/loss" in record]
    assert len(losses) == 2
    assert not (run_folder(tmp_path) / "export").exists()
    assert not list((run_folder(tmp_path) / "checkpoints").glob("step-*"))
    assert 10.3 < losses[0] < 11.8  # ln(50272) = 10.8
