"""Does plain transformers load what was trained, whole or not at all?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GenerationConfig

from tests.shared import tiny_model, tiny_tokenizer
from tunefleet.model.export import export
from tunefleet.model.tokenizer import load

torch.set_num_threads(1)

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}</s>{% endfor %}"
CASES = {"opt": ("opt", {}), "llama, tied": ("llama", {"tie_word_embeddings": True}), "gpt_neox": ("gpt_neox", {})}
READ = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
for folder in sys.argv[1:]:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "turn on the light"}], tokenize=False)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        torch.save(model(ids).logits, folder + "/logits.pt")
    facts = {"text": text, "ids": ids.tolist(), "cache": model.config.use_cache, "dtype": str(model.dtype),
             "pad": tokenizer.pad_token, "eos": tokenizer.eos_token}
    open(folder + "/facts.json", "w").write(json.dumps(facts))
"""


def handed_over(folder: Path, model: Any) -> Path:
    export(folder, model, model.state_dict(), tiny_tokenizer(), TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def read_back(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Path]]:
    """Exported models, read by a fresh process that knows nothing of tunefleet."""
    root = tmp_path_factory.mktemp("exports")
    exports = {}
    for number, (name, (family, changes)) in enumerate(CASES.items()):
        model = tiny_model(family, seed=number, vocab_size=320, **changes)
        exports[name] = model, handed_over(root / str(number), model)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    folders = [str(folder) for _, folder in exports.values()]
    subprocess.run([sys.executable, "-c", READ, *folders], check=True, env=environment, timeout=300)
    return exports


@pytest.mark.parametrize("name", CASES)
def test_plain_transformers_gives_equal_logits(read_back: dict[str, tuple[Any, Path]], name: str) -> None:
    model, folder = read_back[name]
    facts = json.loads((folder / "facts.json").read_text())
    with torch.no_grad():
        expected = model.eval()(torch.tensor(facts["ids"])).logits
    assert (torch.load(folder / "logits.pt") - expected).abs().max().item() <= 1e-6
    assert facts["dtype"] == "torch.float32"


@pytest.mark.parametrize("name", CASES)
def test_the_tokenizer_and_its_template_come_along(read_back: dict[str, tuple[Any, Path]], name: str) -> None:
    _, folder = read_back[name]
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["text"] == "user: turn on the light</s>"
    assert facts["ids"] == [tiny_tokenizer()(facts["text"])["input_ids"]]
    assert (facts["pad"], facts["eos"], facts["cache"]) == ("<pad>", "</s>", True)


def test_the_given_weights_are_written_not_the_models(tmp_path: Path) -> None:
    """Under ZeRO-3 the model's own weights are empty; the gathered ones count."""
    model = tiny_model("llama", vocab_size=320)
    weights = {name: torch.full_like(weight, 0.5) for name, weight in model.state_dict().items()}
    export(tmp_path / "final", model, dict(weights), tiny_tokenizer(), TEMPLATE)
    written = load_file(tmp_path / "final" / "model.safetensors")
    assert written.keys() == weights.keys()
    assert all(torch.equal(weight, torch.full_like(weight, 0.5)) for weight in written.values())


def test_training_goes_on_without_cache(tmp_path: Path) -> None:
    model = tiny_model("opt", vocab_size=320)
    handed_over(tmp_path / "final", model)
    assert model.config.use_cache is False
    assert json.loads((tmp_path / "final" / "config.json").read_text())["use_cache"] is True


def test_only_the_folder_itself_remains(tmp_path: Path) -> None:
    handed_over(tmp_path / "final", tiny_model("opt", vocab_size=320))
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_how_the_tokenizer_was_called_is_not_handed_over(tmp_path: Path) -> None:
    """Generation pads and cuts on the left, at its own length; readers of tokenizer.json would do so too."""
    tokenizer = tiny_tokenizer()
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    tokenizer(["a", "b c d"], padding=True, truncation=True, max_length=3)
    model = tiny_model("opt", vocab_size=320)
    export(tmp_path / "final", model, model.state_dict(), tokenizer, TEMPLATE)
    written = json.loads((tmp_path / "final" / "tokenizer.json").read_text())
    assert (written["truncation"], written["padding"]) == (None, None)


class Crash(Exception):
    pass


def crashing_tokenizer() -> Any:
    tokenizer = tiny_tokenizer()

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    tokenizer.save_pretrained = crash
    return tokenizer


def test_a_crash_midway_leaves_no_folder(tmp_path: Path) -> None:
    model = tiny_model("opt", vocab_size=320)
    with pytest.raises(Crash):
        export(tmp_path / "final", model, model.state_dict(), crashing_tokenizer(), TEMPLATE)
    assert not (tmp_path / "final").exists()
    assert (handed_over(tmp_path / "final", model) / "model.safetensors").exists()  # and can be done again


def test_a_crash_midway_keeps_an_older_export(tmp_path: Path) -> None:
    handed_over(tmp_path / "final", tiny_model("opt", seed=1, vocab_size=320))
    original = {path.name: path.read_bytes() for path in (tmp_path / "final").iterdir()}
    model = tiny_model("opt", seed=2, vocab_size=320)
    with pytest.raises(Crash):
        export(tmp_path / "final", model, model.state_dict(), crashing_tokenizer(), TEMPLATE)
    assert {path.name: path.read_bytes() for path in (tmp_path / "final").iterdir()} == original


def test_a_newer_export_replaces_an_older_one(tmp_path: Path) -> None:
    handed_over(tmp_path / "final", tiny_model("opt", seed=1, vocab_size=320))
    (tmp_path / "final" / "README.md").write_text("the user's own")
    original = (tmp_path / "final" / "model.safetensors").read_bytes()
    handed_over(tmp_path / "final", tiny_model("opt", seed=2, vocab_size=320))
    assert (tmp_path / "final" / "model.safetensors").read_bytes() != original
    assert (tmp_path / "final" / "README.md").read_text() == "the user's own"


def test_a_model_that_cannot_be_written_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("opt", vocab_size=320)

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    monkeypatch.setattr(model, "save_pretrained", crash)
    with pytest.raises(Crash):
        handed_over(tmp_path / "final", model)
    assert model.config.use_cache is False


@pytest.mark.parametrize(("stops", "written"), [((2,), 2), ((2, 7), [2, 7])])
def test_generation_stops_where_answers_ended_in_training(
    tmp_path: Path, stops: tuple[int, ...], written: int | list[int]
) -> None:
    """The architecture's own ids may be another tokenizer's, and know nothing of the template."""
    model = tiny_model("opt", vocab_size=320, eos_token_id=5)
    export(tmp_path / "final", model, model.state_dict(), tiny_tokenizer(), TEMPLATE, stops)
    settings = json.loads((tmp_path / "final" / "generation_config.json").read_text())
    assert (settings["eos_token_id"], settings["pad_token_id"]) == (written, 1)
    assert model.generation_config.eos_token_id == 5


SAMPLING: dict[str, dict[str, Any]] = {
    "sampling": {"temperature": 0.6, "top_p": 0.9},
    "sampling, off": {"temperature": 0.6, "top_p": 0.9, "do_sample": False},
    "sampling, on": {"temperature": 0.6, "top_p": 0.9, "do_sample": True},
}


@pytest.mark.parametrize("name", SAMPLING)
def test_settings_for_sampling_do_not_end_an_export(tmp_path: Path, name: str) -> None:
    """As Vicuna and early Llama 2 publish them; transformers refused to save what it had read, after all training."""
    model = tiny_model("llama", vocab_size=320)
    for key, value in SAMPLING[name].items():
        setattr(model.generation_config, key, value)
    export(tmp_path / "final", model, model.state_dict(), tiny_tokenizer(), TEMPLATE, (2,))
    settings = json.loads((tmp_path / "final" / "generation_config.json").read_text())
    samples = settings.get("do_sample") is True
    assert (settings.get("temperature"), settings.get("top_p")) == ((0.6, 0.9) if samples else (None, None))
    assert samples is (name == "sampling, on")
    GenerationConfig.from_pretrained(tmp_path / "final").save_pretrained(tmp_path / "again")
    assert model.generation_config.temperature == 0.6


def test_the_special_tokens_are_those_of_the_tokenizer_that_was_trained(tmp_path: Path) -> None:
    """Those of the architecture survived: another tokenizer's ids for begin and end."""
    model = tiny_model("llama", vocab_size=320, bos_token_id=101, eos_token_id=102, pad_token_id=103)
    export(tmp_path / "final", model, model.state_dict(), tiny_tokenizer(), TEMPLATE, (2, 7))
    read = [json.loads((tmp_path / "final" / f"{name}.json").read_text()) for name in ("config", "generation_config")]
    assert [(ids["bos_token_id"], ids["eos_token_id"], ids["pad_token_id"]) for ids in read] == [
        (0, 2, 1),
        (0, [2, 7], 1),
    ]


def test_an_end_of_sequence_that_pads_is_no_padding_of_the_model(tmp_path: Path) -> None:
    """Its embedding would not be trained, if the model took it for padding."""
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    model = tiny_model("llama", vocab_size=320)
    export(tmp_path / "final", model, model.state_dict(), tokenizer, TEMPLATE, (2,))
    assert json.loads((tmp_path / "final" / "config.json").read_text())["pad_token_id"] is None


def test_how_the_tokenizer_was_loaded_is_not_handed_over(tmp_path: Path) -> None:
    tiny_tokenizer().save_pretrained(tmp_path / "given")
    tokenizer = load(str(tmp_path / "given"), "llama")
    model = tiny_model("llama", vocab_size=320)
    export(tmp_path / "final", model, model.state_dict(), tokenizer, TEMPLATE)
    original, final = (json.loads((tmp_path / n / "tokenizer_config.json").read_text()) for n in ("given", "final"))
    assert final.keys() <= original.keys()
    tokenizer.save_pretrained(tmp_path / "control")
    control = json.loads((tmp_path / "control" / "tokenizer_config.json").read_text())
    assert {"local_files_only", "is_local"} <= control.keys() - original.keys()


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_a_head_of_its_own_is_not_called_tied(tmp_path: Path, scale: float) -> None:
    """Some files bring one although their config.json says tied: not every reader looks."""
    model = tiny_model("llama", vocab_size=320, tie_word_embeddings=True)
    model.lm_head.weight = torch.nn.Parameter(model.model.embed_tokens.weight.detach() * scale)
    export(tmp_path / "final", model, dict(model.state_dict()), tiny_tokenizer(), TEMPLATE)
    assert json.loads((tmp_path / "final" / "config.json").read_text())["tie_word_embeddings"] is (scale == 1.0)
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "final")
    assert torch.equal(reloaded.lm_head.weight, model.lm_head.weight)
