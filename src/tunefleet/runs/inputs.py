"""Inputs of a run: its tokenizer, its prepared data, and the number of steps that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunefleet.config.data import Grouping, SourceConfig
from tunefleet.contracts import Group, RunState
from tunefleet.data.batches.collate import Widths
from tunefleet.data.batches.order import OrderedBatches
from tunefleet.data.prepare import Prepared, prepare, prepare_alone
from tunefleet.data.store.dataset import Dataset
from tunefleet.model.vocabulary import check_vocabulary
from tunefleet.plan.horizon import Horizon, horizon
from tunefleet.plan.paths import data_files
from tunefleet.plan.plan import Plan
from tunefleet.runs import saved_tokenizer


@dataclass(frozen=True)
class RunInputs:
    """The tokenizer, the data that it made of text, and the length of the run in steps."""

    tokenizer: Any
    data: Prepared
    horizon: Horizon
    test: Mapping[str, Dataset] = field(default_factory=dict)
    """Rows to test on, by split; what decides never looks at them."""

    @property
    def measured_at_end(self) -> Mapping[str, Dataset]:
        """Validation splits, and those to test on."""
        return {**self.data.validation, **self.test}


def load_inputs(plan: Plan) -> RunInputs:
    """Prepares the data, or reads them from the cache; before any process group exists."""
    tokenizer = saved_tokenizer.load(plan)
    if (vocab_rows := plan.sources.architecture.vocab_rows) and not plan.sources.new_tokens:
        check_vocabulary(vocab_rows, tokenizer)  # before hours of preparation; the built model's rows are checked later
    data = prepare(plan.config.data, tokenizer, plan.config.train.sequence_length)
    test = {"test": of_source(plan, source, "test", tokenizer)} if (source := data_files.test(plan.config.data)) else {}
    return RunInputs(tokenizer, data, horizon(plan, len(data.train)), test)


def of_source(plan: Plan, source: SourceConfig, name: str, tokenizer: Any) -> Dataset:
    """The rows of `source`, rendered as the run's are. Raises `DataError`."""
    return prepare_alone(plan.config.data, source, name, tokenizer, plan.config.train.sequence_length)


def widths(plan: Plan) -> Widths:
    """What the micro-batches of a plan are padded to; never more than its sequences may have."""
    return Widths(plan.width_multiple, plan.config.train.sequence_length)


def training_batches(plan: Plan, group: Group, inputs: RunInputs, state: RunState) -> OrderedBatches:
    """This rank's training sequences from `state` on."""
    config = plan.config.data
    return OrderedBatches(
        inputs.data.train,
        plan.batch,
        plan.layout.data_rank(group.rank),
        seed=plan.config.train.seed,
        pad=inputs.tokenizer.pad_token_id,
        packed=config.packing,
        position=state.position,
        grouping=Grouping.NEVER if config.packing else config.group_by_length,
        workers=config.workers,
        left_out=state.left_out,
        widths=widths(plan),
        ahead=plan.collated_ahead,
    )
