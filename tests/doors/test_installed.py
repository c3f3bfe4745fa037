"""Is the installed package a whole program, in an empty folder and in a project with configs of its own?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from documentation import typed_commands

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "your-project.md"
TINY = ["train.max_steps=1", "data.max_rows=200", "evaluation.generate_rows=0", "data.validation_rows=2"]
TINY += ["tracking=files", "checkpoint.export=false"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of this tree, with a cluster's own settings in it, which are nobody else's."""
    source = tmp_path_factory.mktemp("source") / "tunefleet"
    names = ["conf", "src", "sweeps", "pyproject.toml", "README.md", "LICENSE"]
    source.mkdir()
    subprocess.run(["cp", "-a", *(str(ROOT / name) for name in names), str(source)], check=True)
    (source / "conf" / "local").mkdir(exist_ok=True)
    (source / "conf" / "local" / "cluster.yaml").write_text("partition: secret\n")
    built = tmp_path_factory.mktemp("wheel")
    offline = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *offline, "-w", str(built), str(source)], check=True)
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tunefleet` in an environment of its own, whose other packages are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages") and Path(path) != packages]
    (packages / "others.pth").write_text("\n".join(others) + "\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    script = folder / "bin" / "tunefleet"
    script.write_text(f"#!{folder}/bin/python\nfrom tunefleet.doors.cli import main\nmain()\n")
    script.chmod(0o755)
    return script


def types(program: Path, folder: Path, *arguments: str, code: int = 0) -> str:
    """`tunefleet WORDS` in a folder; everything that it printed."""
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RANK", "WORLD_SIZE")}
    environment = {**variables, "HF_HUB_CACHE": str(folder / "hub"), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = (
        [str(program), *arguments] if program.name == "tunefleet" else [str(program), "-m", "tunefleet", *arguments]
    )
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    assert done.returncode == code, done.stdout[-3000:]
    return done.stdout


def test_the_wheel_holds_every_config_and_no_cluster_of_ours(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {name.removeprefix("tunefleet/conf/") for name in names if name.startswith("tunefleet/conf/")}
    here = {str(path.relative_to(ROOT / "conf")) for path in (ROOT / "conf").rglob("*.yaml")}
    here |= {f"sweeps/{path.name}" for path in (ROOT / "sweeps").glob("*.yaml")}  # conf/sweeps is a link to it
    assert {name for name in shipped if name.endswith(".yaml")} == {
        name for name in here if not name.startswith("local/")
    }
    assert "tunefleet/py.typed" in names
    page = ROOT / "src" / "tunefleet" / "report" / "assets"
    assert {f"tunefleet/report/assets/{path.name}" for path in page.iterdir()} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_is_the_installed_one_and_says_its_version(program: Path, tmp_path: Path) -> None:
    assert types(program, tmp_path, "--version") == "tunefleet 0.1.0\n"
    assert types(program.with_name("python"), tmp_path, "--version") == "tunefleet 0.1.0\n"
    where = "import tunefleet, hydra_plugins.tunefleet_sweeper as s; print(tunefleet.__file__, s.__file__)"
    found = subprocess.run(
        [program.with_name("python"), "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert all(path.startswith(str(program.parents[1])) for path in found.stdout.split())


def test_it_plans_and_trains_in_an_empty_folder(program: Path, tmp_path: Path) -> None:
    assert "GiB" in types(program, tmp_path, "plan", "--machine", "8xH100-80G", "parallel=zero3")
    types(program, tmp_path, "train", *TINY, "name=first")
    run = tmp_path / "outputs" / "first"
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    assert {entry.name for entry in tmp_path.iterdir()} == {"outputs"}
    assert "first" in types(program, tmp_path, "ls")
    assert "tunefleet train --help" in types(program, tmp_path, code=2)
    assert "no choice named" in types(program, tmp_path, "train", "model=nope", code=2)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project of docs/your-project.md: its files as the page shows them."""
    for title, text in typed_commands.files([DOCS]).items():
        path = tmp_path / title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    small = tmp_path / "conf" / "experiment" / "ablation" / "small.yaml"
    small.parent.mkdir()
    small.write_text((tmp_path / "conf" / "experiment" / "first.yaml").read_text() + "  seed: 3\n")
    (tmp_path / "conf" / "local").mkdir()
    (tmp_path / "conf" / "local" / "cluster.yaml").write_text("partition: ours\n")
    rows = [json.dumps({"prompt": f"say {n}", "completion": f"number {n}"}) for n in range(60)]
    (tmp_path / "notes.jsonl").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_project_of_its_own_runs_the_commands_of_its_page(program: Path, project: Path) -> None:
    page = DOCS.read_text()
    for command in ("plan experiment=first", "data show experiment=first", "train experiment=first"):
        assert f"\ntunefleet {command}\n" in page
        types(program, project, *command.split())
    (run,) = (path.parent for path in (project / "outputs").glob("*/plan.json"))
    plan = json.loads((run / "plan.json").read_text())
    assert (plan["config"]["data"]["name"], plan["config"]["launch"]["partition"]) == ("notes", "ours")
    grid = types(program, project, "plan", "-m", "experiment=first,ablation/small")
    assert "2 points" in grid
    assert "#SBATCH --partition=ours" in types(
        program, project, "train", "experiment=first", "launch=slurm", "launch.dry_run=true"
    )
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    assert "no choice named 'first'" in types(program, elsewhere, "plan", "experiment=first", code=2)
    assert plan["overrides"] == [f"--config-dir={project}/conf", "experiment=first"]  # what `reproduce` composes again


def test_a_config_that_hides_behind_ours_is_refused(program: Path, project: Path) -> None:
    (project / "conf" / "data" / "demo.yaml").write_text("name: mine\n")
    assert "data/demo: there are two configs of this name" in types(program, project, "plan", "data=demo", code=2)


def test_a_primary_config_of_its_own(program: Path, project: Path) -> None:
    (project / "conf" / "mine.yaml").write_text("defaults:\n  - train\n  - _self_\ntrain:\n  max_steps: 7\n")
    shown = types(program, project, "train", "--config-name=mine", "--cfg", "job", "-p", "train")
    assert "max_steps: 7" in shown
    shown = types(program, project, "train", "-cp", "conf", "-cn", "mine", "--cfg", "job", "-p", "train")
    assert "max_steps: 7" in shown
