"""Do evaluate, compare and serve say which of a model's own generation settings they do not use, as chat does?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import scripted_model
from tunefleet.doors import cli

TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
)
NOTE = "generation_config.json of the model: repetition_penalty=1.5: not used."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = scripted_model.write(tmp_path_factory.mktemp("model") / "own", {"a": "Hi you."}, template=TEMPLATE)
    path = model / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"repetition_penalty": 1.5}))
    (model.parent / "rows.jsonl").write_text('{"prompt": "a", "completion": "Hi you."}\n' * 2)
    return model


def complaint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    output, written = capsys.readouterr()
    assert not ended.value.code, output + written
    return written


def test_evaluate_and_compare_say_it_for_each_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = str(folder.parent / "rows.jsonl")
    assert complaint(["evaluate", str(folder), "--on", rows], capsys).count(NOTE) == 1
    assert complaint(["compare", str(folder), str(folder), "--on", rows], capsys).count(NOTE) == 2


def test_serve_says_it_before_it_listens_to_anybody(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tunefleet.serving.http_server.run", lambda app, listener: None)
    assert complaint(["serve", str(folder), "--port", "0"], capsys).count(NOTE) == 1


def test_control_without_the_line_nothing_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tunefleet.plan.paths.generation_file.note", lambda folder: "")
    with pytest.raises(AssertionError):
        test_serve_says_it_before_it_listens_to_anybody(folder, monkeypatch, capsys)
