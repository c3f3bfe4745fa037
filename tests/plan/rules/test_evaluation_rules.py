"""Are settings of answers that do not go together, or would not be used, refused with the next move?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.base.errors import ConfigError

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 0.5}, "evaluation.temperature=0.5: not used. Set evaluation.decoding=sampling"),
    ({"beams": 2, "decoding": "sampling"}, "evaluation.beams=2: not used. Set evaluation.decoding=beam"),
    ({"labels": ["a"]}, "evaluation.labels: not used. Set evaluation.answers=labels"),
    ({"labels": ["a", " "], "answers": "labels"}, "evaluation.labels: an empty text"),
    ({"stop_texts": ["x"], "answers": "labels"}, "evaluation.stop_texts: labels end by themselves"),
    ({"stop_texts": [""]}, "evaluation.stop_texts: an empty text"),
    ({"threshold": "auto"}, "evaluation.threshold=auto: it is chosen on the answers to validation rows"),
    ({"threshold": "auto", "generate_rows": 49}, "Set evaluation.generate_rows=all"),
    ({"threshold_label": "none"}, "evaluation.threshold_label: not used"),
    ({"threshold": 0.5, "threshold_cost": 0.1}, "evaluation.threshold_cost: not used"),
    ({"top_p": 0.0}, "evaluation.top_p: 0.0 is not allowed"),
]


@pytest.mark.parametrize(("evaluation", "message"), REFUSED)
def test_what_does_not_go_together_is_refused(tmp_path: Path, evaluation: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        tiny_plan(tmp_path, evaluation=evaluation)
    assert [complaint for complaint in error.value.complaints if message in complaint]


def test_labels_are_listed_where_all_text_is_in_the_loss(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    data = {"path": plan.config.data.path, "tokenizer": plan.config.data.tokenizer, "train_on": "all"}
    with pytest.raises(ConfigError, match="List evaluation"):
        tiny_plan(tmp_path, data=data, evaluation={"answers": "labels"})
    tiny_plan(tmp_path, data=data, evaluation={"answers": "labels", "labels": ["a"]})
    tiny_plan(tmp_path, evaluation={"answers": "labels", "threshold": "auto", "generate_rows": 50})
