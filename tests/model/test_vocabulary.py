"""Do ids of a tokenizer that the model has no row for stop a run, and do special ids become the tokenizer's?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from tests.families import EVERY
from tests.shared import architecture, tiny_model, tiny_tokenizer
from tunefleet.base.errors import ConfigError
from tunefleet.model.build import build
from tunefleet.model.vocabulary import check_vocabulary, lengthen, other_ids, special_ids
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import Sources


@pytest.mark.parametrize(("rows", "fits"), [(319, False), (320, True), (384, True)])
def test_every_token_needs_an_embedding(rows: int, fits: bool) -> None:
    if fits:
        check_vocabulary(rows, tiny_tokenizer())
    else:
        with pytest.raises(ConfigError, match=r"has the id 319, and the model only 319 embeddings \(0 to 318\)"):
            check_vocabulary(rows, tiny_tokenizer())


def with_hole() -> Any:
    """A tokenizer of 320 tokens, of which the last has the id 330."""
    written = json.loads(tiny_tokenizer().backend_tokenizer.to_str())
    vocabulary = written["model"]["vocab"]
    vocabulary[max(vocabulary, key=vocabulary.get)] = 330
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(written)))


def test_the_largest_id_counts_where_the_vocabulary_has_holes() -> None:
    tokenizer = with_hole()
    assert len(tokenizer) == 320  # what was compared before
    check_vocabulary(331, tokenizer)
    with pytest.raises(ConfigError, match="has the id 330, and the model only 325 embeddings"):
        check_vocabulary(325, tokenizer)


def test_added_tokens_count() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<|im_start|>"])
    with pytest.raises(ConfigError, match=r"'<\|im_start\|>' has the id 320"):
        check_vocabulary(320, tokenizer)


def without_padding() -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def test_an_end_that_pads_is_no_padding_row() -> None:
    assert special_ids(tiny_tokenizer()) == {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    assert special_ids(without_padding())["pad_token_id"] is None


OTHER_IDS = {"bos_token_id": 5, "eos_token_id": [6, 7], "pad_token_id": 0}  # 0 is the tokenizer's <s>


def test_ids_that_differ_are_named() -> None:
    assert other_ids(OTHER_IDS, tiny_tokenizer()) == {
        "bos_token_id": (5, 0),
        "eos_token_id": ([6, 7], 2),
        "pad_token_id": (0, 1),
    }
    assert other_ids({"bos_token_id": 0, "eos_token_id": [9, 2]}, tiny_tokenizer()) == {}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("tokenizer", [tiny_tokenizer(), without_padding()], ids=["pads", "ends"])
def test_from_scratch_every_family_takes_the_tokenizers_ids(name: str, tokenizer: Any) -> None:
    """So no token of a text is the padding row, which stays zero."""
    config = {**EVERY[name], "vocab_size": 320, "bos_token_id": 7, "eos_token_id": 8, "pad_token_id": 0}
    model = build(Sources(None, "", Architecture(config)), seed=0, tokenizer=tokenizer)
    ids = special_ids(tokenizer)
    for config in (model.config, model.generation_config):
        assert {key: getattr(config, key) for key in ids} == ids
    assert bool((model.get_input_embeddings().weight[0] != 0).any())


def test_control_without_the_tokenizer_a_token_of_every_text_is_never_trained() -> None:
    model = build(Sources(None, "", Architecture(architecture("opt", vocab_size=320, pad_token_id=0))), seed=0)
    assert not bool((model.get_input_embeddings().weight[0] != 0).any())


@pytest.mark.parametrize("is_models_own", [True, False])
def test_files_take_the_ids_of_another_tokenizer(tmp_path: Path, is_models_own: bool) -> None:
    tiny_model("opt", vocab_size=320, **OTHER_IDS).save_pretrained(tmp_path)
    sources = Sources(str(tmp_path), str(tmp_path) if is_models_own else "other", Architecture({}))
    model = build(sources, seed=0, tokenizer=without_padding())
    model(input_ids=torch.tensor([[0, 4, 9]])).logits.sum().backward()
    is_trained = bool((model.get_input_embeddings().weight.grad[0] != 0).any())
    ends = [model.config.eos_token_id, model.generation_config.eos_token_id]
    assert model.config.bos_token_id == model.generation_config.bos_token_id == 0
    assert ends == [2, 2]
    assert model.config.pad_token_id == (
        0 if is_models_own else None
    )  # as plain transformers trains the model as published
    assert is_trained  # tied: also where the embedding has a padding row


def test_further_ends_of_the_models_own_files_stay(tmp_path: Path) -> None:
    tiny_model("llama", vocab_size=320, eos_token_id=[2, 9]).save_pretrained(tmp_path)
    model = build(Sources(str(tmp_path), str(tmp_path), Architecture({})), seed=0, tokenizer=tiny_tokenizer())
    assert model.config.eos_token_id == model.generation_config.eos_token_id == [2, 9]
    foreign = build(Sources(str(tmp_path), "other", Architecture({})), seed=0, tokenizer=tiny_tokenizer())
    assert foreign.config.eos_token_id == foreign.generation_config.eos_token_id == 2


@pytest.mark.parametrize("family", ["opt", "llama", "gpt_neox"])
def test_new_tokens_get_the_mean_of_the_other_rows(family: str, tmp_path: Path) -> None:
    tiny_model(family, vocab_size=320).save_pretrained(tmp_path)
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<new>", "<newer>"])
    config = Architecture(architecture(family, vocab_size=320))
    model = build(Sources(str(tmp_path), "", config, new_tokens=("<new>", "<newer>")), 0, tokenizer=tokenizer)
    plain = build(Sources(str(tmp_path), "", config), 0)
    weight, before = model.get_input_embeddings().weight, plain.get_input_embeddings().weight
    assert model.config.vocab_size == len(weight) == 322
    assert torch.equal(weight[:320], before)
    assert torch.allclose(weight[320:], before.mean(0).expand(2, -1), atol=1e-7)
    head, head_before = model.get_output_embeddings().weight, plain.get_output_embeddings().weight
    assert torch.allclose(head[320:], head_before.mean(0).expand(2, -1), atol=1e-7)
    ids = torch.tensor([[5, 321, 7]])
    assert torch.isfinite(model(ids).logits).all()
    assert torch.allclose(model(ids[:, :1]).logits[..., :320], plain(ids[:, :1]).logits, atol=1e-5)


def test_rows_to_spare_are_taken_first() -> None:
    model, tokenizer = tiny_model("opt", vocab_size=330), tiny_tokenizer()
    tokenizer.add_tokens(["<new>"])
    before = model.get_input_embeddings().weight.clone()
    lengthen(model, tokenizer)
    assert torch.equal(model.get_input_embeddings().weight, before)
