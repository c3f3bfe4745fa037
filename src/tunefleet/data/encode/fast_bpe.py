"""Fast BPE: tiktoken gives the same tokens, for ASCII text and a byte-level BPE, where it is proven.

Both split a text at the added tokens, then into words, and merge adjacent tokens of a word until none can be merged.
The model's own tokenizer merges the *pair* that stands first in its list of merges; tiktoken merges the pair whose
*concatenation* has the lowest rank. That is the same pair, if

- tiktoken knows exactly the tokens that the merges make of their own characters, where those are a word by themselves,
- their ranks are in the order of the merges by which they are made.

Say the merges have brought a word to a state in which a and b stand side by side. No merge has crossed the borders of
these two, so what happened within them is what happens to the word ab alone: it passes through [a, b] as well. If the
merges hold (a, b), nothing else can happen there, so ab becomes one token, and tiktoken knows it. If tiktoken knows ab,
it is made by the one merge that is possible in [a, b], so the merges hold (a, b). Both have the same pairs to choose
from, in the same order; of equal ones both take the leftmost.

ASCII alone: there, character classes and normal forms are the same in every library and version of Unicode, and a byte
is a character, so that the lengths of tokens say where they stand.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import tiktoken
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
PATTERNS = (GPT2, QWEN2, LLAMA3)
"""What finds the words of a text, by the family that had it first."""
_NORMAL_FORMS = ("NFC", "NFD", "NFKC", "NFKD")  # ASCII is in all of them
_CHARACTERS = {character: byte for byte, character in bytes_to_unicode().items() if byte < 128}  # of words: a byte each
_ASCII = str.maketrans(_CHARACTERS)
_IS_ASCII = re.compile(f"[{re.escape(''.join(_CHARACTERS))}]+")
_PRIVATE = 0xF0000  # from here on: characters of no meaning, which ASCII does not hold
_END = chr(_PRIVATE)  # of a text

Added = dict[str, int]


class FastBpe:
    """Tokenises many ASCII texts at once, without Python's lock."""

    def __init__(
        self, pattern: str, vocabulary: Mapping[str, int], tokens: Sequence[str], added: Sequence[Added]
    ) -> None:
        """`tokens` are those that can be made, by rank; `added` are looked for in turn, the longest first."""
        contents = [(content, number) for group in added for content, number in group.items()]
        marks = {content: chr(_PRIVATE + index) for index, (content, _) in enumerate(contents, 1)}
        self._added = [(_any_of(group), {content: marks[content] for content in group}) for group in added if group]
        self._ids = np.array(
            [vocabulary[token] for token in tokens] + [number for _, number in contents], dtype=np.int32
        )
        self._sizes = np.array([len(token) for token in tokens] + [len(content) for content, _ in contents])
        specials = {mark: index for index, mark in enumerate(marks.values(), len(tokens))} | {_END: len(self._ids)}
        ranks = {token.translate(_ASCII).encode(): rank for rank, token in enumerate(tokens)}
        self._encoding = tiktoken.Encoding("fast", pat_str=pattern, mergeable_ranks=ranks, special_tokens=specials)

    def __call__(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
        """The tokens of all texts, how many characters each of them is, and how many tokens each text has.

        Raises `ValueError` for what tiktoken cannot split into words, such as a million spaces.
        """
        joined = "".join([text + _END for text in texts])
        for pattern, marks in self._added:
            joined = pattern.sub(lambda match, marks=marks: marks[match[0]], joined)  # type: ignore[misc]
        specials = self._encoding.special_tokens_set
        ranks = self._encoding.encode_to_numpy(joined, allowed_special=specials, disallowed_special=())
        ends = np.flatnonzero(ranks == len(self._ids))
        ranks = np.delete(ranks, ends)
        return self._ids[ranks], self._sizes[ranks], np.diff(ends, prepend=-1) - 1


def fast_bpe(backend: Tokenizer) -> FastBpe | None:
    """What tokenises ASCII exactly as `backend` does; None where that is not proven. Takes up to a second to build."""
    described = json.loads(backend.to_str())
    pattern, added = _pattern(described), _added(backend)
    if pattern is None or added is None or not _merges_only(described["model"]):
        return None
    tokens = makeable(described["model"], backend.model)
    return FastBpe(pattern, described["model"]["vocab"], tokens, added) if tokens else None


def _pattern(described: Mapping[str, Any]) -> str | None:
    """What splits ASCII text into words, where nothing else happens to it: a pattern that both libraries read alike."""
    forms, steps = _steps(described["normalizer"], "normalizers"), _steps(described["pre_tokenizer"], "pretokenizers")
    if any(form["type"] not in _NORMAL_FORMS for form in forms) or not steps:
        return None
    *splits, last = steps
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return None
    if last["use_regex"]:
        return None if splits else GPT2
    return next((pattern for pattern in PATTERNS if splits == [_split(pattern)]), None)


def _steps(described: Mapping[str, Any] | None, name: str) -> list[Mapping[str, Any]]:
    """What is done one after the other."""
    return list(described.get(name, [described])) if described else []


def _split(pattern: str) -> Mapping[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _added(backend: Tokenizer) -> list[Added] | None:
    """The tokens that are cut out of a text, before it is normalised and after, if nothing around them matters."""
    raw_tokens, normalized_tokens = Added(), Added()
    for number, token in backend.get_added_tokens_decoder().items():
        normalizer = backend.normalizer if token.normalized else None
        content = normalizer.normalize_str(token.content) if normalizer else token.content
        looks = token.lstrip or token.rstrip or token.single_word or (token.special and backend.encode_special_tokens)
        if looks or content in raw_tokens or content in normalized_tokens:
            return None
        if content and content.isascii():
            (normalized_tokens if token.normalized else raw_tokens)[content] = number
    return [raw_tokens, normalized_tokens]


def _any_of(added: Added) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(added, key=len, reverse=True))))


def _merges_only(model: Mapping[str, Any]) -> bool:
    changed = [model.get(name) for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")]
    return model["type"] == "BPE" and not any(changed) and _CHARACTERS.keys() <= model["vocab"].keys()


def makeable(described: Mapping[str, Any], model: Any) -> list[str]:
    """The ASCII tokens that can be made, by the merges that make them; none where their order cannot be told."""
    tokens = [token for token in described["vocab"] if _IS_ASCII.fullmatch(token) and token not in _CHARACTERS]
    pieces = pieces_of(tokens, model)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for rank, (start, end) in enumerate(described["merges"]):
        first.setdefault(start + end, rank)
        last[start + end] = rank
    merged = sorted((token for token, count in zip(tokens, pieces, strict=True) if count == 1), key=first.__getitem__)
    # With `ignore_merges` a whole word is also taken if no merges make it. Two pieces would merge in a longer word.
    unmerged = [(token, n) for token, n in zip(tokens, pieces, strict=True) if n > 1 and model.ignore_merges]
    if any(last[a] > first[b] for a, b in pairwise(merged)) or any(count == 2 for _, count in unmerged):
        return []
    return [*_CHARACTERS, *merged, *(token for token, _ in unmerged)]


def pieces_of(tokens: Sequence[str], model: Any) -> list[int]:
    """How many tokens the merges leave of each."""
    if model.ignore_merges:
        model = copy.deepcopy(model)
        model.ignore_merges = False
    return [len(model.tokenize(token)) for token in tokens]
