"""Does a model come from exactly its files or its seed, and its tokenizer from whatever folder there is?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.families import EVERY
from tests.plans import tiny_plan
from tests.shared import TINY, architecture, shared_data, tiny_model, tiny_tokenizer
from tunefleet.base.errors import ConfigError
from tunefleet.model import tokenizer as tokenizers
from tunefleet.model.build import build
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import Sources

torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved tiny model."""
    tiny_model("llama", seed=3).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def from_folder(path: Path) -> Sources:
    return Sources(str(path), "", Architecture(architecture("llama")))


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("family", TINY)
def test_from_scratch_is_a_function_of_the_seed_only(family: str) -> None:
    torch.manual_seed(111)
    first = tiny_model(family, seed=5)
    torch.manual_seed(222)
    torch.rand(7)
    assert equal(first, tiny_model(family, seed=5))
    assert not equal(first, tiny_model(family, seed=6))


@pytest.mark.parametrize("family", TINY)
def test_from_scratch_is_fp32_on_the_cpu_without_cache(family: str) -> None:
    model = tiny_model(family, torch_dtype="float16", transformers_version="4.0")
    assert {(p.dtype, p.device.type) for p in model.parameters()} == {(torch.float32, "cpu")}
    assert model.config.use_cache is False
    assert model.config._attn_implementation == "sdpa"


def test_the_architecture_is_left_as_it_was() -> None:
    config = architecture("gpt_neox", rope_scaling=None)
    original = json.dumps(config, sort_keys=True)
    build(Sources(None, "", Architecture(config)), seed=0)
    assert json.dumps(config, sort_keys=True) == original


@pytest.mark.parametrize("checkpointing", [True, False])
def test_gradient_checkpointing_as_asked(checkpointing: bool) -> None:
    model = build(Sources(None, "", Architecture(architecture("opt"))), seed=0, gradient_checkpointing=checkpointing)
    assert model.is_gradient_checkpointing is checkpointing


def test_pretrained_weights_are_those_of_the_folder(folder: Path) -> None:
    model = build(from_folder(folder), seed=0)
    assert equal(model, tiny_model("llama", seed=3))
    assert not equal(model, tiny_model("llama", seed=0))
    assert model.config.use_cache is False
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(("family", "implementation"), [("llama", "sdpa"), ("gptj", "eager"), ("gemma2", "eager")])
@pytest.mark.parametrize("attention", [None, "flex_attention"])
def test_attention_is_sdpa_where_the_family_has_it(
    tmp_path: Path, family: str, implementation: str, attention: str | None
) -> None:
    """Whatever config.json asks for: the learner's masks are for these two."""
    config = EVERY[family] | ({"attn_implementation": attention} if attention else {})
    model = build(Sources(None, "", Architecture(config)), seed=0)
    assert model.config._attn_implementation == implementation
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert build(Sources(str(tmp_path), "", Architecture(config)), seed=0).config._attn_implementation == implementation


def test_half_precision_files_become_fp32(tmp_path: Path) -> None:
    tiny_model("opt").to(torch.float16).save_pretrained(tmp_path)
    model = build(Sources(str(tmp_path), "", Architecture(architecture("opt"))), seed=0)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def change_weights(folder: Path, name: str, weight: torch.Tensor | None) -> None:
    path = folder / "model.safetensors"
    file_weights = load_file(path)
    assert name in file_weights
    file_weights.pop(name)
    save_file(file_weights if weight is None else {**file_weights, name: weight}, path, metadata={"format": "pt"})


NAME = "model.layers.1.mlp.up_proj.weight"


def test_a_missing_weight_is_refused_by_name(folder: Path) -> None:
    change_weights(folder, NAME, None)
    with pytest.raises(ConfigError, match=f"lacks 1 weights of its architecture, such as {NAME}"):
        build(from_folder(folder), seed=0)


def test_a_weight_of_another_shape_is_refused(folder: Path) -> None:
    change_weights(folder, NAME, torch.zeros(3, 32))
    with pytest.raises(ConfigError, match=NAME):
        build(from_folder(folder), seed=0)


def test_a_damaged_file_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"model\.safetensors: cannot be read: "):
        build(from_folder(folder), seed=0)


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    tiny_model("llama", tie_word_embeddings=True).save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    model = build(Sources(str(tmp_path), "", Architecture({})), seed=0)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_real_pretrained_model_loads() -> None:
    folder = shared_data("stories260k/hf")
    model = build(Sources(str(folder), str(folder), Architecture({})), seed=0)
    assert sum(p.numel() for p in model.parameters()) == 260_032


# --- tokenizers


def test_a_saved_tokenizer_loads_as_it_was(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(tmp_path)
    loaded = tokenizers.load(str(tmp_path), "llama")
    text = "Wörter, 中国 🎉</s>"
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (loaded.pad_token, loaded.eos_token, loaded.chat_template) == ("<pad>", "</s>", "{{ messages }}")


def test_without_padding_token_the_end_pads(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    loaded = tokenizers.load(str(tmp_path), "llama")
    assert loaded.pad_token_id == loaded.eos_token_id == 2


def test_bare_opt_files_get_opts_special_tokens() -> None:
    tokenizer = tokenizers.load(str(shared_data("tok_opt")), "opt")
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id) == (2, 1, 2)
    assert tokenizer("Hello world", add_special_tokens=False)["input_ids"] == [31414, 232]
    assert tokenizer.is_fast


def test_bare_gpt2_files_get_gpt2s_special_tokens() -> None:
    tokenizer = tokenizers.load(str(shared_data("tok_gpt2")), "gpt2")
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 50256
    assert tokenizer("Hello world", add_special_tokens=False)["input_ids"] == [15496, 995]


def test_files_with_a_configuration_are_not_bare() -> None:
    tokenizer = tokenizers.load(str(shared_data("tok_qwen2")), "qwen2")
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert "im_start" in tokenizer.chat_template


GARBAGE = {
    "empty folder": {},
    "text as tokenizer.json": {"tokenizer.json": "garbage"},
    "list as tokenizer.json": {"tokenizer.json": "[]"},
    "object as tokenizer.json": {"tokenizer.json": "{}"},
    "text as vocab.json": {"vocab.json": "garbage", "merges.txt": "#version: 0.2\n"},
    "list as vocab.json": {"vocab.json": "[]", "merges.txt": "#version: 0.2\n"},
    "merges of unknown tokens": {"vocab.json": '{"a": 0, "b": 1}', "merges.txt": "#version: 0.2\nx y\n"},
    "broken configuration": {"tokenizer_config.json": "{", "vocab.json": "{}", "merges.txt": ""},
}


@pytest.mark.parametrize("files", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_no_tokenizer(tmp_path: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=r"model\.tokenizer") as raised:
        tokenizers.load(str(tmp_path), "opt")
    assert str(tmp_path) in str(raised.value)


def test_loading_changes_nothing_in_the_folder(tmp_path: Path) -> None:
    source = shared_data("tok_opt")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(source / name, tmp_path / name)
    tokenizers.load(str(tmp_path), "opt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merges.txt", "vocab.json"]


def test_gradient_checkpointing_changes_no_gradient(tmp_path: Path) -> None:
    sources = tiny_plan(tmp_path).sources
    gradients = []
    for checkpointing in (False, True):
        model = build(sources, seed=5, gradient_checkpointing=checkpointing).train()
        assert model.is_gradient_checkpointing == checkpointing
        model(input_ids=torch.arange(3, 40)[None], use_cache=False).logits.float().logsumexp(-1).sum().backward()
        gradients.append([weight.grad for weight in model.parameters()])
    for without, with_it in zip(*gradients, strict=True):
        torch.testing.assert_close(without, with_it)


def test_a_family_without_gradient_checkpointing_says_so() -> None:
    ctrl = {
        "model_type": "ctrl",
        "vocab_size": 32,
        "n_embd": 16,
        "dff": 32,
        "n_layer": 1,
        "n_head": 2,
        "n_positions": 16,
    }
    with pytest.raises(ConfigError, match="transformers has none for the family ctrl"):
        build(Sources(None, "", Architecture(ctrl)), seed=0, gradient_checkpointing=True)
