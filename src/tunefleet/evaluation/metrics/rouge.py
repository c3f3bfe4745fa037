"""ROUGE-L: the longest common subsequence of words of an answer and its reference, by rouge-score."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD_PATTERN = re.compile(r"[^\W_]+", re.UNICODE)


class _AnyScript:
    """In the place of rouge-score's own tokenizer, which drops every letter that is not a to z."""

    def tokenize(self, text: str) -> list[str]:
        return _WORD_PATTERN.findall(text.lower())


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """{"rouge_l": the mean F1, 0 to 1} (Lin 2004). Words are those of any script, lower-cased, without a stemmer."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_AnyScript())
    pairs = zip(answers, references, strict=True)
    return {
        "rouge_l": sum(scorer.score(reference, answer)["rougeL"].fmeasure for answer, reference in pairs) / len(answers)
    }
