"""Does `tunefleet plan` say what a run needs, whether it fits, what would fit and how long it takes?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plan.choose.test_calibration import finished
from tests.plan.estimate.test_memory_items import published_config
from tests.plans import tiny_plan
from tunefleet.base.errors import ConfigError
from tunefleet.doors import cli, plan

LLAMA = ("model=llama-3.1-8b", "model.init=random", "model.tokenizer=demo", "train.sequence_length=2048")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def output(
    capsys: pytest.CaptureFixture[str], *arguments: str, machine: str | None = None, rows: int | None = None
) -> str:
    plan.single(arguments, machine, rows)
    return capsys.readouterr().out


def test_items_verdict_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, *LLAMA, "parallel=ddp", machine="8xH100-80G")
    assert "spread     ddp on 8 cuda processes, bf16" in out
    assert "GiB in each GPU of 8xH100-80G, at the peak (end of a forward pass):" in out
    for item in ("parameters", "optimizer states", "activations", "logits and loss", "attention mask", "CUDA context"):
        assert f"\n  {item} " in out
    assert "does not fit: each GPU needs" in out
    commands = [line.split("tunefleet train ")[1] for line in out.splitlines() if "tunefleet train " in line]
    assert commands
    assert all("parallel=ddp" not in command for command in commands)
    assert all(command.count("parallel=") == 1 and set(LLAMA) <= set(command.split()) for command in commands)


def test_an_advised_command_fits(capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, *LLAMA, machine="8xH100-80G")
    best = next(line for line in out.splitlines() if "tunefleet train " in line).split("tunefleet train ")[1]
    assert "\nfits: " in output(capsys, *best.split(), machine="8xH100-80G")


def test_time_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*LLAMA, "parallel=zero3", "train.gradient_checkpointing=true")
    assert "1,000 steps: " in output(capsys, *arguments, machine="2x8xH100")
    steps = output(capsys, *arguments, "train.max_steps=50", machine="2x8xH100")
    assert "\n50 steps: " in steps
    assert " GPU-hours\n" in steps
    assert "assumed: 40% of 989 TFLOP/s; 80% of 450 GB/s within a host, of 50 GB/s a GPU between hosts" in steps
    assert "\n32 steps: " in output(capsys, *arguments, machine="2x8xH100", rows=2048)  # 16 GPUs x 4 rows


@pytest.mark.parametrize(
    ("rows", "epochs", "steps"),
    [(17, 0.5, 2), (17, 1, 3), (16, 1, 2), (1, 0.01, 1), (7, 0.5, 1), (29, 7, 26), (80, 0.3, 3)],
)
def test_the_plan_has_as_many_steps_as_the_run(
    capsys: pytest.CaptureFixture[str], rows: int, epochs: float, steps: int
) -> None:
    """By hand: epochs x rows / 8, rounded up; half an epoch of 17 rows is 8.5, two steps of 8."""
    arguments = (*LLAMA, "train.micro_batch=8", "parallel=single", f"train.epochs={epochs}")
    assert f"\n{steps} steps: " in output(capsys, *arguments, machine="1xH100-80G", rows=rows)


def test_a_cpu_is_compared_with_its_host(capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys)
    assert "GiB in each process, at the peak" in out
    assert "GiB of each host are left" in out


def test_an_unknown_machine_is_not_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, *LLAMA, "launch=slurm", "launch.gpus_per_node=8", "launch.time=1h")
    assert "fits? the GPU memory of the machines of the job is unknown; name the machine: --machine 8xH100-80G" in out


def test_a_family_without_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    shape = "model.architecture={model_type: rwkv, vocab_size: 2048, hidden_size: 16, num_hidden_layers: 2}"
    arguments = ("model=hf", shape, "model.init=random", "model.tokenizer=demo", "data.packing=false")
    assert "memory     not counted: no formula for the family rwkv" in output(capsys, *arguments)


def test_a_grid_is_a_table_and_a_sum(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*LLAMA, "parallel=zero1,zero3", "optimizer.lr=0.1,0.2", "train.max_steps=100")
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", "-m", *arguments, "--machine", "8xA100-80G"])
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code in (None, 0)
    assert lines[0].split() == ["point", "strategy", "GiB", "of", "tokens/s", "time", "GPU-hours"]
    assert [line.split()[0:3] for line in lines[1:5]] == [
        ["parallel=zero1", "optimizer.lr=0.1", "zero1"],
        ["parallel=zero1", "optimizer.lr=0.2", "zero1"],
        ["parallel=zero3", "optimizer.lr=0.1", "zero3"],
        ["parallel=zero3", "optimizer.lr=0.2", "zero3"],
    ]
    assert "does not fit" in lines[1]
    total = sum(float(line.split()[-1]) for line in lines[1:5])
    assert lines[-1].startswith("4 points: ")
    assert float(lines[-1].split()[2]) == pytest.approx(total, abs=0.2)


def test_overrides_may_follow_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["plan", "--machine", "1xH100-80G", "name=behind"])
    assert "run        behind" in capsys.readouterr().out


def test_a_published_model_needs_no_files(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    out = output(capsys, "model=opt-66b", "parallel=zero3", machine="8xH100-80G")
    assert "note: planned without the model's files" in out
    assert "are for fine-tuning" not in out  # that is for models from scratch
    assert "hf download facebook/opt-66b" in out
    assert "65.7B parameters" in out
    with pytest.raises(ConfigError, match=r"model\.path"):
        output(capsys, "model=hf", "model.path=some/where", machine="8xH100-80G")


def test_words_for_no_machine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"plan.machine: '8' is not a machine"):
        output(capsys, machine="8")


def test_a_plan_of_qlora_needs_no_bitsandbytes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A published model, and a folder of one's own."""
    out = output(capsys, "model=llama-3.1-8b", "adapter=qlora", "parallel=zero1", machine="1xA100-80G")
    assert "parameters" in out
    folder = planted(tmp_path)
    own = ("model=hf", f"model.path={folder}", "model.tokenizer=demo", "adapter=qlora", "parallel=zero1")
    assert "needs bitsandbytes" in output(capsys, *own, machine="1xA100-80G")


def planted(folder: Path) -> Path:
    """A Llama's config.json with a file of weights that nobody reads."""
    (folder / "config.json").write_text(json.dumps(published_config("llama-3.1-8b")))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_it_learns_from_finished_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    finished(tiny_plan(tmp_path), "trained", 1.5, 0.5)
    outputs = str(Path(tiny_plan(tmp_path).run_dir).parent)
    with pytest.raises(SystemExit) as ended:
        cli.main(["--outputs", outputs, "plan", "--calibrate"])
    assert ended.value.code in (None, 0)
    assert "CPUs: memory x 1.50 (1.50 to 1.50 in 1 run), speed x 0.50" in capsys.readouterr().out
    assert "calibrated by " in output(capsys, f"output_dir={outputs}")
    with pytest.raises(SystemExit) as refused:
        cli.main(["--outputs", outputs, "plan", "--calibrate", "seed=2"])
    assert refused.value.code == 2
