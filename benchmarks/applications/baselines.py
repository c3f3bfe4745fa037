"""Baselines: what the simplest methods answer to the test rows of an application."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.applications.rows import Row

Answers = Sequence[str]
Baseline = Callable[[Sequence[Row], Sequence[Row]], Answers]
"""Of training rows and test rows: an answer to each of the latter."""


def majority(train: Sequence[Row], test: Sequence[Row]) -> Answers:
    """The label that most training rows have."""
    label = Counter(row["label"] for row in train).most_common(1)[0][0]
    return [label] * len(test)


def most_frequent_command(train: Sequence[Row], test: Sequence[Row]) -> Answers:
    """The answer that most training commands have."""
    target = Counter(row["target"] for row in train).most_common(1)[0][0]
    return [target] * len(test)


def words_with_logistic_regression(train: Sequence[Row], test: Sequence[Row]) -> Answers:
    """TF-IDF of words, logistic regression."""
    return _classified(train, test, _regression(ngram_range=(1, 1)))


def bigrams_with_logistic_regression(train: Sequence[Row], test: Sequence[Row]) -> Answers:
    """TF-IDF of words and pairs of words, logistic regression."""
    return _classified(train, test, _regression(ngram_range=(1, 2)))


def characters_with_svm(train: Sequence[Row], test: Sequence[Row]) -> Answers:
    """TF-IDF of runs of 1 to 5 characters within words, linear support-vector machine."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    features = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 5), sublinear_tf=True)
    return _classified(train, test, make_pipeline(features, LinearSVC(C=1.0)))


def copied(train: Sequence[Row], test: Sequence[Row]) -> Answers:
    """The sentence itself."""
    return [row["source"] for row in test]


def nearest_sentence(train: Sequence[Row], test: Sequence[Row]) -> Answers:
    """The target of the training sentence whose runs of 1 to 3 characters are most alike (cosine of TF-IDF)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    features = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True)
    known = features.fit_transform(row["source"] for row in train)
    neighbors = NearestNeighbors(n_neighbors=1, metric="cosine").fit(known)
    places = neighbors.kneighbors(features.transform(row["source"] for row in test), return_distance=False)
    return [train[place]["target"] for (place,) in places.tolist()]


LABELLING: Mapping[str, Baseline] = {
    "the most frequent label": majority,
    "TF-IDF of words, logistic regression": words_with_logistic_regression,
    "TF-IDF of words and pairs, logistic regression": bigrams_with_logistic_regression,
    "TF-IDF of characters, linear SVM": characters_with_svm,
}
TRANSLATING: Mapping[str, Baseline] = {
    "a copy of the sentence": copied,
    "the nearest training sentence": nearest_sentence,
}
COMMANDING: Mapping[str, Baseline] = {
    "the most frequent answer": most_frequent_command,
    "the answer of the nearest training command": nearest_sentence,
}


def _regression(ngram_range: tuple[int, int]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(TfidfVectorizer(ngram_range=ngram_range), LogisticRegression(C=10.0, max_iter=300))


def _classified(train: Sequence[Row], test: Sequence[Row], classifier: Any) -> Answers:
    classifier.fit([row["text"] for row in train], [row["label"] for row in train])
    return [str(label) for label in classifier.predict([row["text"] for row in test])]
