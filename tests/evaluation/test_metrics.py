"""Are the metrics of answers those of their papers, computed by hand?"""

from __future__ import annotations

import math

import pytest

from tunefleet.config.evaluation import VALUES_OF, MetricName, metric_text
from tunefleet.evaluation.metrics.answer_metrics import METRICS, measured
from tunefleet.evaluation.metrics.translation import tokenization


def values(name: MetricName, answers: list[str], references: list[str]) -> list[float]:
    """In the order of `VALUES_OF`."""
    by_name = measured([name], answers, references)
    return [by_name[value] for value in VALUES_OF[name]]


@pytest.mark.parametrize("name", MetricName)
def test_every_name_measures_what_it_says_and_right_answers_are_best(name: MetricName) -> None:
    texts = ['{"a": 1}', '{"b": "the cat sat on the mat"}']
    assert tuple(METRICS[name](texts, texts)) == VALUES_OF[name]
    best = 100.0 if name in (MetricName.BLEU, MetricName.CHRF) else 1.0
    assert values(name, texts, texts) == pytest.approx([best] * len(VALUES_OF[name]))
    assert all(value < best for value in values(name, ["no", "nothing"], texts))


def test_exact_match_is_a_share_white_space_around_aside() -> None:
    assert values(MetricName.EXACT_MATCH, [" a\n", "b", "c d", "D"], ["a", "\tb ", "c  d", "d"]) == [0.5]


def test_slot_f1_counts_values_with_their_paths() -> None:
    """3 values are expected, 3 are given, 2 of them right: precision and recall are 2/3. One answer of two is JSON."""
    expected = ['{"intent": "play", "slots": {"artist": "Queen"}}', '{"intent": "stop"}']
    given = ['{"intent": "play", "slots": {"artist": "Queen", "song": "Flash"}}', "stop!"]
    assert values(MetricName.JSON, given, expected) == pytest.approx([0.5, 2 * (2 / 3) * (2 / 3) / (4 / 3)])


def test_lists_have_no_order_and_values_are_counted_as_often_as_they_are_there() -> None:
    assert values(MetricName.JSON, ['["a", "b", "a"]'], ['["a", "a", "b"]']) == [1.0, 1.0]
    assert values(MetricName.JSON, ['["a"]'], ['["a", "a"]'])[1] == pytest.approx(2 / 3)
    assert values(MetricName.JSON, ["1"], ["1.0"])[1] == 0.0
    assert values(MetricName.JSON, ["[" * 5000], ['["a"]']) == [0.0, 0.0]


def test_macro_f1_is_the_mean_over_the_references_classes() -> None:
    """Of a: precision 1/2, recall 1, so 2/3. Of b: never answered, so 0. An answer that is no class is wrong."""
    accuracy, macro_f1 = values(MetricName.LABELS, ["a", "a", "c"], ["a", "b", "b"])
    assert accuracy == pytest.approx(1 / 3)
    assert macro_f1 == pytest.approx((2 / 3 + 0) / 2)


def test_bleu_is_the_papers() -> None:
    """Precisions 5/6, 3/5, 1/4 and, without a match, 1/2 of one 4-gram of 3 (sacrebleu)."""
    precisions = [5 / 6, 3 / 5, 1 / 4, 1 / (2 * 3)]
    expected = 100 * math.exp(sum(math.log(precision) for precision in precisions) / 4)
    assert values(MetricName.BLEU, ["the cat is on the mat"], ["the cat sat on the mat"]) == pytest.approx([expected])


def test_chinese_is_compared_by_characters_though_it_has_no_spaces() -> None:
    answer, reference = ["我今天去学校上课。"], ["我今天去学校上班。"]
    assert tokenization(reference) == "zh"
    assert values(MetricName.BLEU, answer, reference)[0] > 50
    assert tokenization(["das ist 中"]) == "zh"
    assert tokenization(["これは本です。"]) == "char"
    assert tokenization(["Ein Satz.", "一句话", "Noch einer."]) == "13a"


def test_rouge_l_is_the_longest_common_subsequence_in_any_script() -> None:
    """Of 'police kill the gunman' and 'police killed the gunman' 3 of 4 words are common (Lin 2004)."""
    assert values(MetricName.ROUGE_L, ["Police kill the gunman."], ["police killed the gunman"]) == [
        pytest.approx(3 / 4)
    ]
    assert values(MetricName.ROUGE_L, ["привет мир"], ["привет, мир"]) == [1.0]


def test_there_must_be_as_many_and_one() -> None:
    with pytest.raises(ValueError, match="1 answers and 2 references"):
        measured([MetricName.EXACT_MATCH], ["a"], ["a", "b"])
    with pytest.raises(ValueError, match="0 answers"):
        measured([MetricName.EXACT_MATCH], [], [])


def test_shares_are_printed_as_percent_and_bleu_as_papers_do() -> None:
    assert metric_text("exact_match", 0.81) == "exact match 81.0%"
    assert metric_text("bleu", 32.3) == "bleu 32.30"
