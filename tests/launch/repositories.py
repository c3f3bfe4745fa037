"""What do tests of the code's history need: a small project in a real git repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

_PERSON = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "protocol.file.allow=always")


def git(folder: Path, *arguments: str) -> str:
    """What `git WORDS` prints in `folder`, whoever runs the test."""
    done = subprocess.run(["git", *_PERSON, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git without the person's settings and without a repository around the test's folder."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.delenv("GIT_DIR", raising=False)


def project(root: Path) -> Path:
    """The files of a project, without git."""
    contents = {
        "src/tunefleet/__init__.py": "VALUE = 1\n",
        "src/tunefleet/launch/deep.py": "DEEP = True\n",
        "conf/train.yaml": "name: x\n",
        "train.py": "print('training')\n",
        "README.md": "# Read me\n",
        ".gitignore": "outputs/\n*.log\n",
    }
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def committed(root: Path) -> Path:
    """The project in a repository with one commit."""
    project(root)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=first")
    return root
