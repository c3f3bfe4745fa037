"""Translation: BLEU and chrF of a corpus, by sacrebleu, so that figures can be compared with those of papers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_JAPANESE = re.compile(r"[\u3040-\u30ff]")
_KOREAN = re.compile(r"[\uac00-\ud7af]")


def bleu(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """{"bleu": 0 to 100} (Papineni et al. 2002; Post 2018), with the tokens that `tokenization` takes."""
    return {"bleu": float(bleu_metric(references).corpus_score(list(answers), [list(references)]).score)}


def bleu_metric(references: Sequence[str]) -> Any:
    """sacrebleu's BLEU for texts of the references' language."""
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenization(references))


def chrf(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """{"chrf": 0 to 100}, the F2 of character 1- to 6-grams (Popovic 2015)."""
    return {"chrf": float(chrf_metric().corpus_score(list(answers), [list(references)]).score)}


def chrf_metric() -> Any:
    """sacrebleu's chrF."""
    from sacrebleu.metrics import CHRF

    return CHRF()


def tokenization(references: Sequence[str]) -> str:
    """sacrebleu's name of it: `zh` where most references are Chinese, `char` for Japanese and Korean, else `13a`."""
    half = len(references) / 2
    if sum(bool(_JAPANESE.search(text) or _KOREAN.search(text)) for text in references) > half:
        return "char"
    return "zh" if sum(bool(_CHINESE.search(text)) for text in references) > half else "13a"
