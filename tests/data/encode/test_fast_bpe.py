"""Does the faster tokenizer give the tokens of the model's own wherever it is used, and is it refused elsewhere?"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tests.data.encode.test_loss_mask import load
from tests.shared import shared_data, tiny_tokenizer
from tunefleet.config.data import TrainOn
from tunefleet.data import demo
from tunefleet.data.encode import fast_bpe, tokenise
from tunefleet.data.encode.fast_bpe import FastBpe
from tunefleet.data.encode.loss_mask import encode
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.encode.template_source import find
from tunefleet.data.encode.tokenise import Tokenise
from tunefleet.data.formats.conversation import Conversation, Turn
from tunefleet.model import tokenizer as tokenizers

ASCII = [chr(code) for code in range(128)]
KINDS = [*" \t\n\r'.-1", "s", "S", "l", "D", "  ", "\n\n", "'ll", "'RE", "12345", " the", "ing"]
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


@pytest.fixture(scope="module", params=["tiny", "tok_opt", "tok_gpt2", "tok_qwen2", "tok_gptneox"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return load(request.param)


@pytest.fixture(scope="module")
def fast(tokenizer: Any) -> FastBpe:
    actual = fast_bpe.fast_bpe(tokenizer.backend_tokenizer)
    assert actual
    return actual


def ids_of(texts: Sequence[str], backend: Tokenizer) -> list[list[int]]:
    return [actual.ids for actual in backend.encode_batch(list(texts), add_special_tokens=False)]


def by(fast: FastBpe, texts: Sequence[str]) -> list[list[int]]:
    tokens, sizes, counts = fast(texts)
    assert sizes.sum() == sum(map(len, texts))
    assert len(counts) == len(texts)
    return [part.tolist() for part in np.split(tokens, np.cumsum(counts)[:-1])]


def expect_same(fast: FastBpe, backend: Tokenizer, texts: Sequence[str]) -> None:
    pairs = zip(by(fast, texts), ids_of(texts, backend), texts, strict=True)
    assert [(text, actual, expected) for actual, expected, text in pairs if actual != expected][:3] == []


def mixed(parts: Sequence[str], count: int, longest: int) -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices(parts, k=draw.randint(0, longest))) for _ in range(count)]


def test_pairs_and_mixtures_of_all_ascii_characters(tokenizer: Any, fast: FastBpe) -> None:
    backend = tokenizer.backend_tokenizer
    expect_same(fast, backend, ["", *ASCII, *(a + b for a in ASCII for b in ASCII)])
    expect_same(fast, backend, mixed(ASCII, 5_000, 12))
    expect_same(fast, backend, mixed(KINDS, 5_000, 30))


def test_added_tokens_in_the_midst(tokenizer: Any, fast: FastBpe) -> None:
    """GPT-NeoX has one for each number of spaces from 2 to 24: the longest is taken."""
    added = [token.content for token in tokenizer.backend_tokenizer.get_added_tokens_decoder().values()]
    halves = [token[: len(token) // 2] for token in added]
    expect_same(fast, tokenizer.backend_tokenizer, mixed([*added, *halves, *KINDS], 5_000, 20))


@pytest.mark.parametrize(
    "name",
    ["alpaca_52k/alpaca_data.json", "clinc150/data_full.json", "snips_nlu/GetWeather/train_GetWeather_full.json"],
)
def test_real_rows(tokenizer: Any, fast: FastBpe, name: str) -> None:
    texts = [text for text in words_in(json.loads(shared_data(name).read_bytes())) if text.isascii()]
    expect_same(fast, tokenizer.backend_tokenizer, random.Random(0).sample(texts, min(len(texts), 4_000)))


def words_in(value: Any) -> list[str]:
    """Every text in a value of JSON."""
    if isinstance(value, dict | list):
        return [
            text for letters in (value.values() if isinstance(value, dict) else value) for text in words_in(letters)
        ]
    return [value] if isinstance(value, str) else []


# --- where words begin


@pytest.mark.parametrize("pattern", fast_bpe.PATTERNS)
def test_both_libraries_find_the_same_words(pattern: str) -> None:
    """All strings of up to five characters of each kind, with merges that know no kinds and so show where words end."""
    kinds = " \n\ra1'S."
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=3_000, initial_alphabet=ALPHABET, show_progress=False)
    backend.train_from_iterator(mixed(kinds, 2_000, 40), trainer)
    backend.pre_tokenizer = splitting(pattern)
    fast = fast_bpe.fast_bpe(backend)
    assert fast
    expect_same(fast, backend, ["".join(letters) for length in range(6) for letters in product(kinds, repeat=length)])


def splitting(pattern: str, **changed: Any) -> Any:
    steps = [
        pre_tokenizers.Split(Regex(pattern), **{"behavior": "isolated", "invert": False, **changed}),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return pre_tokenizers.Sequence(steps)


# --- merges


def made_up(draw: random.Random, **model: Any) -> Tokenizer:
    """A tokenizer with merges of a, b and c in any order: some tokens are never made, and some by several pairs."""
    tokens, merges = list("abc"), []
    for _ in range(draw.randint(3, 14)):
        pair = draw.choice(tokens), draw.choice(tokens)
        if pair not in merges and len("".join(pair)) < 6:
            merges.append(pair)
            tokens.append("".join(pair))
    draw.shuffle(merges)
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*ALPHABET, *tokens]))}
    backend = Tokenizer(models.BPE(vocabulary, merges, **model))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return backend


TERMS = ["".join(letters) for length in range(7) for letters in product("abc", repeat=length)]


@pytest.mark.parametrize("ignore", [False, True])
def test_made_up_merges_give_the_same_tokens_or_are_refused(ignore: bool) -> None:
    draw = random.Random(1)
    used = never_made = 0
    for _ in range(40):
        backend = made_up(draw, ignore_merges=ignore)
        fast = fast_bpe.fast_bpe(backend)
        if fast:
            used += 1
            never_made += len(fast._ids) < backend.get_vocab_size() - 128
            expect_same(fast, backend, TERMS)
    assert used > 12
    assert never_made > 3 or ignore


def test_a_token_that_is_never_made_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: `bc` is made first, so nothing makes `abc`. tiktoken would, if it knew it."""
    vocabulary = {token: number for number, token in enumerate([*ALPHABET, "bc", "ab", "abc"])}
    backend = Tokenizer(models.BPE(vocabulary, [("b", "c"), ("a", "b"), ("ab", "c")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast = fast_bpe.fast_bpe(backend)
    assert fast
    expect_same(fast, backend, TERMS)
    monkeypatch.setattr(fast_bpe, "pieces_of", lambda terms, model: [1] * len(terms))
    wrong = fast_bpe.fast_bpe(backend)
    assert wrong
    with pytest.raises(AssertionError, match="abc"):
        expect_same(wrong, backend, TERMS)


def test_another_order_of_ranks_would_be_noticed(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the last merges first."""
    right = fast_bpe.makeable
    monkeypatch.setattr(
        fast_bpe, "makeable", lambda *arguments: [*right(*arguments)[:128], *right(*arguments)[:127:-1]]
    )
    wrong = fast_bpe.fast_bpe(tokenizer.backend_tokenizer)
    assert wrong
    with pytest.raises(AssertionError):
        expect_same(wrong, tokenizer.backend_tokenizer, mixed(KINDS, 1_000, 30))


# --- what is refused


def changed(**parts: Any) -> Callable[[Tokenizer], None]:
    def change(backend: Tokenizer) -> None:
        for name, part in parts.items():
            setattr(backend, name, part)

    return change


def adding(content: str, **rule: bool) -> Callable[[Tokenizer], None]:
    return lambda backend: backend.add_tokens([AddedToken(content, **rule)]) and None


REFUSED: dict[str, Callable[[Tokenizer], Any]] = {
    "space on the left": adding("<x>", lstrip=True),
    "space on the right": adding("<x>", rstrip=True),
    "only whole words": adding("x", single_word=True),
    "space in front": changed(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "no words": changed(pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
    "no pre-tokenizer": changed(pre_tokenizer=None),
    "SentencePiece": changed(pre_tokenizer=pre_tokenizers.Metaspace()),
    "another pattern": changed(pre_tokenizer=splitting(r"\s+|\S+")),
    "removed words": changed(pre_tokenizer=splitting(fast_bpe.GPT2, behavior="removed")),
    "inverted words": changed(pre_tokenizer=splitting(fast_bpe.GPT2, invert=True)),
    "small letters": changed(normalizer=normalizers.Lowercase()),
    "small letters behind": changed(normalizer=normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])),
    "special tokens as text": changed(encode_special_tokens=True),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_what_is_not_proven_is_refused(change: Callable[[Tokenizer], Any]) -> None:
    backend = tiny_tokenizer().backend_tokenizer
    assert fast_bpe.fast_bpe(backend)
    change(backend)
    assert fast_bpe.fast_bpe(backend) is None


@pytest.mark.parametrize(
    "model",
    [
        models.Unigram([("a", -1.0), ("b", -2.0)]),
        models.WordLevel({"a": 0, "?": 1}, unk_token="?"),
        models.BPE({letter: number for number, letter in enumerate("abc")}, [], byte_fallback=True),
        models.BPE({letter: number for number, letter in enumerate(ALPHABET)}, [], dropout=0.1),
        models.BPE({letter: number for number, letter in enumerate(ALPHABET)}, [], end_of_word_suffix="</w>"),
    ],
)
def test_another_model_is_refused(model: Any) -> None:
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert fast_bpe.fast_bpe(backend) is None


def test_the_tokenizer_of_the_demo_is_refused() -> None:
    """It writes spaces around quotes first, and finds words in its own way."""
    tokens = tokenizers.load(str(Path(demo.__file__).parent / "tokenizer"), "opt")
    assert fast_bpe.fast_bpe(tokens.backend_tokenizer) is None


def test_a_normal_form_is_not_refused() -> None:
    backend = tiny_tokenizer().backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.NFC()])
    backend.add_tokens([AddedToken("\uff21\uff22", normalized=True)])  # wide letters, that NFKC makes AB
    fast = fast_bpe.fast_bpe(backend)
    assert fast
    expect_same(fast, backend, ["AB", "xABA", "A B"])
    assert by(fast, ["AB"]) == [[backend.token_to_id("\uff21\uff22")]]


# --- used


def test_masks_and_order_are_the_same_whichever_tokenizer_is_used(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only some of the texts are ASCII."""
    template = ChatTemplate(find("chatml", None), dict(tokenizer.special_tokens_map))
    terms = mixed([*KINDS, "\u4f60", "\U0001f389"], 300, 6) + mixed(KINDS, 300, 12)
    conversations = [
        Conversation((Turn("user", f"Q {a}"), Turn("assistant", f"{a}."), Turn("user", a)), "x:1") for a in terms
    ]
    random.Random(0).shuffle(conversations)
    actual = []
    for worth in (1e9, 0):
        monkeypatch.setattr(tokenise, "WORTH_BUILDING", worth)
        actual.append(encode(conversations, template, tokenizer, TrainOn.RESPONSE, 4096))
    assert any(letters.loss_mask.any() and not letters.loss_mask.all() for letters in actual[0])
    for usual, fast in zip(*actual, strict=True):
        assert usual.tokens.tolist() == fast.tokens.tolist()
        assert usual.loss_mask.tolist() == fast.loss_mask.tolist()


def test_it_is_built_once_and_only_where_there_is_enough_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr(tokenise, "fast_bpe", built.append)
    tokens = tiny_tokenizer()
    count = Tokenise(tokens)
    enough = tokenise.WORTH_BUILDING * len(tokens)
    count(["\u4f60" * enough, "a" * (enough - 1)])
    assert not built
    for _ in range(3):
        count(["a", "b"])
    assert len(built) == 1


def test_what_is_too_much_for_its_expressions_is_left_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenise, "WORTH_BUILDING", 0)
    tokens = tiny_tokenizer()
    texts = ["a", " " * 1_000_000, "b"]
    fast = fast_bpe.fast_bpe(tokens.backend_tokenizer)
    assert fast
    with pytest.raises(ValueError, match="backtracking"):
        fast(texts)
    actual = Tokenise(tokens)(texts)
    assert actual.tokens.tolist() == [token for text in ids_of(texts, tokens.backend_tokenizer) for token in text]
    assert actual.ends.tolist()[-1] == 1
