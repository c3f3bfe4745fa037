"""Data precheck: whether a run can read the first rows of every source, without its model."""

from __future__ import annotations

from collections.abc import Sequence

from tunefleet.base.errors import ConfigError
from tunefleet.data import first_rows
from tunefleet.model.vocabulary import check_vocabulary
from tunefleet.plan.plan import Plan
from tunefleet.runs import saved_tokenizer


def complaints(plan: Plan) -> Sequence[str]:
    """What training would refuse, as far as the first rows show it; nothing is written."""
    try:
        tokenizer = saved_tokenizer.planned(plan)
        if (vocab_rows := plan.sources.architecture.vocab_rows) and not plan.sources.new_tokens:
            check_vocabulary(vocab_rows, tokenizer)
    except ConfigError as error:
        return error.complaints
    return first_rows.complaints(plan.config.data, tokenizer, plan.config.train.sequence_length)
