"""Do the lines of benchmarks/gpu.sh stand, before a GPU is paid for: plans are made, failures cost what they may?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from benchmarks import gpu_lines, gpu_measures, gpu_runner, gpu_scenarios
from benchmarks.gpu_runner import Line

from tests.ranks import ROOT
from tunefleet.doors import compose
from tunefleet.plan import Machine, make

LINES = {1: gpu_lines.one_gpu(Path("/tmp/out"), dry=False), 2: gpu_lines.several(Path("/tmp/out"), 2, dry=False)}
WRITE = "import os, json; open(os.environ['RESULT'], 'w').write(json.dumps({'x': int(os.environ.get('RANK', 7))}))"


def python(name: str, code: str, seconds: float = 60, **settings: object) -> Line:
    return Line(name, seconds, [sys.executable, "-c", code], **settings)  # type: ignore[arg-type]


def test_a_failure_costs_its_own_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_runner, "LEAST", 0.0)
    lines = [
        python("good", WRITE),
        python("bad", "raise SystemExit('no such kernel')"),
        python("slow", "import time; time.sleep(60)", seconds=0.5),
        python(
            "one rank of two fails",
            "import os, time; time.sleep(60 if os.environ['RANK'] == '1' else 0) or 1/0",
            ranks=2,
        ),
        python("two ranks", WRITE + " if os.environ['RANK'] == '0' else None", ranks=2, beside=True),
        python("absent", WRITE, needs="no_such_module"),
    ]
    began = time.monotonic()
    assert gpu_runner.run_all(lines, tmp_path, os.environ, seconds=40) == 1
    assert time.monotonic() - began < 30
    records = {record["line"]: record for record in json.loads((tmp_path / "gpu.json").read_text())}
    states = {name: record["state"] for name, record in records.items()}
    expected = ["ok", "failed", "too slow", "failed", "ok", "left out"]
    assert states == dict(zip((line.name for line in lines), expected, strict=True))
    assert records["good"]["result"] == {"x": 7}
    assert records["two ranks"]["result"] == {"x": 0}
    assert "no such kernel" in records["bad"]["detail"]
    assert records["absent"]["detail"] == "needs no_such_module"


def test_nothing_is_begun_where_a_package_is_missing(tmp_path: Path) -> None:
    first = Line("G1", 60, [sys.executable, "-c", "import no_such_module"], decides=True)
    assert gpu_runner.run_all([first, python("second", WRITE, beside=True)], tmp_path, os.environ, seconds=60) == 1
    (record,) = json.loads((tmp_path / "gpu.json").read_text())
    assert "No module named 'no_such_module'" in record["detail"]


def test_what_has_no_time_is_left_out(tmp_path: Path) -> None:
    assert gpu_runner.run_all([python("late", WRITE)], tmp_path, os.environ, seconds=1) == 0
    assert json.loads((tmp_path / "gpu.json").read_text())[0]["detail"] == "no time"


@pytest.mark.parametrize("gpus", LINES)
def test_every_line_has_a_name_of_its_own_and_is_there(gpus: int) -> None:
    names = [line.name for line in LINES[gpus]]
    assert len(set(names)) == len(names)
    for line in LINES[gpus]:
        module, function = line.command[2], line.command[3]
        known = {"benchmarks.gpu_measures": gpu_measures.FUNCTIONS, "benchmarks.gpu_scenarios": gpu_scenarios.SCENARIOS}
        assert module == "tunefleet" or function in known[module]


def test_the_lines_of_the_reading_are_there() -> None:
    assert {line.name.split()[0] for line in LINES[1]} == {f"G{number}" for number in range(1, 11)}


@pytest.mark.parametrize("gpus", LINES)
def test_every_plan_of_a_line_can_be_made_on_its_machine(gpus: int, tmp_path: Path) -> None:
    """A word that is not known would cost minutes of a GPU."""
    machine = Machine(gpus=gpus, cores=16, compiler=True)
    overrides = {line.name: line.spec["overrides"] for line in LINES[gpus] if "overrides" in line.spec}
    checks = {line.name: line.command[4:] for line in LINES[gpus] if line.command[2:4] == ["tunefleet", "check"]}
    assert len(overrides) > 5 < len(checks)
    for name, words in overrides.items():
        plan = make(compose.from_overrides([*words, f"output_dir={tmp_path}", "plan.force=true"]), machine)
        assert plan.layout.world_size == gpus, name
        assert plan.layout.device == "cuda"
    for words in checks.values():
        compose.from_overrides(list(words))


def test_wheels_are_unpacked_without_pip(tmp_path: Path) -> None:
    wheel = tmp_path / "made_up-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("made_up.py", "x = 7")
        archive.writestr("made_up-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
        archive.writestr("made_up-1.0.data/scripts/made-up", "#!/bin/sh\necho ran\n")
    gpu_lines.unpack(tmp_path, tmp_path / "site")
    code = "import importlib.metadata as m, made_up; print(made_up.x, m.version('made-up'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "7 1.0\n"
    assert subprocess.run([tmp_path / "site" / "bin" / "made-up"], capture_output=True).stdout == b"ran\n"


@pytest.mark.exhaustive
@pytest.mark.parametrize("script", ["gpu.sh", "gpus.sh"])
def test_the_dry_run_passes(script: str, tmp_path: Path) -> None:
    """Everything at tiny sizes on this CPU."""
    command = ["bash", f"benchmarks/{script}", "--dry", "--out", str(tmp_path), "--seconds", "1800"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert {record["state"] for record in json.loads((tmp_path / "gpu.json").read_text())} == {"ok"}


def test_the_cheap_part_of_the_dry_run_passes(tmp_path: Path) -> None:
    command = ["bash", "benchmarks/gpu.sh", "--dry", "--out", str(tmp_path), "--only", "G1"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "gpu.json").read_text())[0]["result"]["matmul_tflops"] > 0


def dry_run(script: str, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", f"benchmarks/{script}", "--dry", "--out", str(out), *arguments]
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
