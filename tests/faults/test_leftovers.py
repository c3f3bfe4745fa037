"""Is there no secret in anything that a run leaves behind?"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.ranks import ROOT

CANARIES = {
    "SLURM_JWT": "canary-jwt-1f",
    "SLURM_JOB_COMMENT": "password=canary-comment-2e",
    "WANDB_API_KEY": "canary-wandb-3d" + "0" * 25,
    "HF_TOKEN": "canary-hub-4c",
    "AWS_SECRET_ACCESS_KEY": "canary-aws-5b",
    "HTTPS_PROXY": "http://me:canary-proxy-6a@127.0.0.1:9",
}
TELL_TALE = {"SLURM_JOB_NAME": "a-tell-tale"}  # what Weights & Biases does record of SLURM
SMALL = ["data.max_rows=64", "data.validation_rows=6", "evaluation.generate_rows=2", "evaluation.max_new_tokens=8"]
SMALL += ["train.micro_batch=2", "train.sequence_length=64", "train.max_steps=2", "tracking.wandb=offline", "name=a"]
BUNDLE = "import sys; from tunefleet.doors.cli import main; main(sys.argv[1:])"


def typed(folder: Path, *command: str) -> str:
    """What a command prints that is typed where the canaries are in the environment."""
    environment = {**os.environ, **CANARIES, **TELL_TALE, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def leftovers(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, and what is in its bundles."""
    contents = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}
    for path in folder.rglob("*.tar.gz"):
        with tarfile.open(path) as archive:
            contents |= {f"{path}:{m.name}": file.read() for m in archive if (file := archive.extractfile(m))}
    return contents


def test_nothing_that_a_run_leaves_holds_a_secret_of_the_environment(tmp_path: Path) -> None:
    """Data, logs, checkpoint, export, the files of Weights & Biases, the bundle."""
    output = typed(tmp_path, str(ROOT / "train.py"), *SMALL)
    output += typed(tmp_path, "-c", BUNDLE, "bundle", "a", "--to=b.tar.gz")
    contents = leftovers(tmp_path)
    assert [name for name, content in contents.items() if b"a-tell-tale" in content and name.endswith(".wandb")]
    assert [name for name in contents if ".tar.gz:" in name]
    assert [name for name, content in contents.items() if b"canary" in content and not name.endswith("code.diff")] == []
    assert not [canary for canary in CANARIES.values() for content in contents.values() if canary.encode() in content]
    assert "canary" not in output
