"""Does lm-eval, as docs/evaluation.md calls it, find in an export what the model answers? Without a network."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from documentation.typed_commands import files, typed_commands

from tests import scripted_model

TASK = "tasks/my_rows.yaml"
ANSWERS = {"a": "Hi you.", "k": "é!"}


def evaluated(folder: Path, references: list[str]) -> str:
    """What the command of the page prints of an export that answers two questions, with these references."""
    scripted_model.write(folder / "my-model", ANSWERS)
    (folder / TASK).parent.mkdir()
    (folder / TASK).write_text(files()[TASK])
    rows = [{"question": question, "reference": text} for question, text in zip(ANSWERS, references, strict=True)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    [command] = [one.text for one in typed_commands() if one.text.startswith("lm_eval ")]
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", *shlex.split(command)[1:]],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "HF_DATASETS_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    match = re.search(r"exact_match\|[^|]*\|([\d. ]+)\|", done.stdout)
    assert match, done.stdout
    return match[1].strip()


@pytest.mark.exhaustive
@pytest.mark.parametrize(("references", "expected"), [(["Hi you.", "é!"], "1.0"), (["Hi you.", "no"], "0.5")])
def test_exact_matches_are_those_of_the_model(tmp_path: Path, references: list[str], expected: str) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is an extra: pip install '.[lm-eval]'")
    assert float(evaluated(tmp_path, references)) == float(expected)
