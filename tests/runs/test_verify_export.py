"""Is an export that is not what was trained called so, by a process that knows nothing of tunefleet?"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.plans import tiny_plan
from tests.shared import tiny_model, tiny_tokenizer
from tunefleet.base import delivery
from tunefleet.base.errors import ConfigError, ExportError
from tunefleet.contracts import RunState
from tunefleet.data import prepare
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.encode.template_source import find
from tunefleet.engine.plain_model import PlainModel
from tunefleet.model.learner import Learner
from tunefleet.plan.plan import Plan
from tunefleet.runs import export_format, verify_export
from tunefleet.runs.verify_export import Expected

META = {"format": "pt"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, Expected, Any, Any]:
    """A plan, its staged export, what it must give again, model and tokenizer."""
    folder = tmp_path_factory.mktemp("trained")
    plan = tiny_plan(folder, "llama")
    model, tokenizer = tiny_model("llama", vocab_size=320), tiny_tokenizer()
    template = _template(tokenizer, "chatml")
    staged = folder / "staged"
    export_format.stage(plan, staged, model, dict(model.state_dict()), tokenizer, template)
    rows = verify_export.sample_rows(tokenizer, 320)
    logits = verify_export.logits_of(PlainModel(Learner(model)), rows)
    expected = export_format.expected(plan, tokenizer, template, ["turn on the light"], rows=rows, logits=logits)
    return plan, staged, expected, model, tokenizer


def _template(tokenizer: Any, name: str) -> ChatTemplate:
    tokenizer.chat_template = find(name, None)
    return prepare.own_template(tokenizer)


def test_what_was_trained_is_delivered_with_what_was_compared(
    trained: tuple[Plan, Path, Expected, Any, Any], tmp_path: Path
) -> None:
    plan, staged, expected, _, _ = trained
    with delivery.staging(tmp_path / "export") as copy:
        shutil.copytree(staged, copy, dirs_exist_ok=True)
        export_format.verify_and_deliver(plan, copy, tmp_path / "export", RunState(step=7), expected)
    record = delivery.record(tmp_path / "export")
    assert record is not None
    assert (record["step"], record["complete"]) == (7, True)
    assert record["compared"]["tokenizer"] == "same ids for 3 texts"
    assert record["compared"]["stop tokens"] == str(list(expected.stops))
    assert float(record["compared"]["logits"].split(", ")[1].split()[0]) < 1e-6


def _own_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"] * 1.2
    save_file(weights, folder / "model.safetensors", metadata=META)


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_everything_that_is_not_is_named_and_nothing_delivered(
    trained: tuple[Plan, Path, Expected, Any, Any], tmp_path: Path
) -> None:
    """One new process for all: ids, template, stop tokens and logits are compared apart."""
    plan, staged, expected, _, _ = trained
    wrong = shutil.copytree(staged, tmp_path / "wrong")
    _own_head(wrong)
    _edit(wrong / "generation_config.json", eos_token_id=5)
    (wrong / "chat_template.jinja").write_text("{{ messages }}")
    tokenizer = json.loads((wrong / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                                                       tokenizer["pre_tokenizer"]]}  # fmt: skip
    tokenizer["model"]["merges"] = []
    (wrong / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ExportError) as raised:
        export_format.verify_and_deliver(plan, wrong, tmp_path / "export", RunState(), expected)
    for part in ("makes other ids of", "chat template is another", "stops at [5]", "logits are 0.2 apart"):
        assert part in str(raised.value)
    assert not (tmp_path / "export").exists()


@pytest.mark.exhaustive
def test_what_cannot_be_read_is_no_export(trained: tuple[Plan, Path, Expected, Any, Any], tmp_path: Path) -> None:
    plan, staged, expected, _, _ = trained
    wrong = shutil.copytree(staged, tmp_path / "wrong")
    (wrong / "model.safetensors").unlink()
    with pytest.raises(ExportError, match="cannot read the export: OSError: "):
        export_format.verify_and_deliver(plan, wrong, tmp_path / "export", RunState(), expected)


@pytest.mark.exhaustive
def test_a_model_that_memory_does_not_hold_is_compared_without_logits(
    trained: tuple[Plan, Path, Expected, Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, staged, expected, _, _ = trained
    monkeypatch.setattr(verify_export, "free_memory", lambda: 100_000)
    compared = verify_export.verify(staged, replace(expected, logits=None))
    assert compared["logits"] == "not compared: the model takes 0.0 GiB to read, and 0.0 are free"
    assert compared["tokenizer"] == "same ids for 3 texts"


@pytest.mark.parametrize(("scale", "relative"), [(1.0, 0.0), (1.01, 0.01), (0.5, 0.5)])
def test_how_far_logits_are_apart_is_relative_to_how_they_vary(scale: float, relative: float) -> None:
    logits = np.asarray([[1.0, -1.0], [2.0, -2.0]], dtype=np.float32)
    assert verify_export.logit_distance(logits * scale, logits) == pytest.approx(relative, abs=1e-6)
    assert verify_export.logit_distance(logits * np.nan, logits) == np.inf


# Before the training


def _metaspace() -> Any:
    """A tokenizer of another kind: words are marked, as in Llama's."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    backend.train_from_iterator(["turn on the light", "Hello, world! It's 12345", "def f(x): return"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_a_tokenizer_that_transformers_would_read_as_another_is_refused_before_training(
    tmp_path: Path, family: str
) -> None:
    """transformers knows better than the files of a Qwen2; the other family is the control."""
    plan, model, tokenizer = tiny_plan(tmp_path, family), tiny_model(family, vocab_size=320), _metaspace()
    tokenizer.pad_token = tokenizer.eos_token
    template = _template(tokenizer, "plain")
    if family == "llama":
        export_format.expect_exportable(plan, model, tokenizer, template)
        return
    with pytest.raises(ConfigError, match=r"model\.tokenizer: .* a Qwen2Tokenizer, .* makes other tokens"):
        export_format.expect_exportable(plan, model, tokenizer, template)


def test_settings_that_transformers_will_not_save_are_told_before_training(tmp_path: Path) -> None:
    plan, model, tokenizer = tiny_plan(tmp_path, "llama"), tiny_model("llama", vocab_size=320), tiny_tokenizer()
    template = _template(tokenizer, "plain")
    export_format.expect_exportable(plan, model, tokenizer, template)
    model.generation_config.num_return_sequences = 4  # of one beam, without sampling
    with pytest.raises(
        ConfigError,
        match=r"checkpoint\.export: no export could be written: .*num_return_sequences.* checkpoint\.export=false",
    ):
        export_format.expect_exportable(plan, model, tokenizer, template)
