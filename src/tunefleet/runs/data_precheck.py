"""Data precheck: whether a run can read the first rows of every source, without its model."""

from __future__ import annotations

from collections.abc import Sequence

from tunefleet.base.errors import ConfigError
from tunefleet.data import first_rows
from tunefleet.model.tokenizer import load as load_tokenizer
from tunefleet.model.vocabulary import check_vocabulary
from tunefleet.plan.plan import Plan


def complaints(plan: Plan) -> Sequence[str]:
    """What training would refuse, as far as the first rows show it; nothing is written."""
    architecture = plan.sources.architecture
    try:
        tokenizer = load_tokenizer(plan.sources.tokenizer, architecture.model_type)
        if vocab_rows := architecture.vocab_rows:
            check_vocabulary(vocab_rows, tokenizer)
    except ConfigError as error:
        return error.complaints
    return first_rows.complaints(plan.config.data, tokenizer, plan.config.train.sequence_length)
