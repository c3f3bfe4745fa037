"""Labels: accuracy and macro-F1 of answers that name one of several classes."""

from __future__ import annotations

from collections.abc import Sequence


def labels(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """{"accuracy", "macro_f1"}, both 0 to 1; the classes are those of the references, and any other answer is wrong.

    Macro-F1 is the mean over classes of each one's F1, which is 0 where it was never answered (scikit-learn).
    """
    from sklearn.metrics import accuracy_score, f1_score  # scipy takes a second

    classes = sorted(set(references))
    return {
        "accuracy": float(accuracy_score(references, answers)),
        "macro_f1": float(f1_score(references, answers, labels=classes, average="macro", zero_division=0.0)),
    }
