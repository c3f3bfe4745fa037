"""Out of memory: the same step in smaller micro-batches, or the next setting to try."""

from __future__ import annotations

from dataclasses import replace

from tunefleet.config.train import OnOom
from tunefleet.plan.deepspeed.config import batch_keys, precision_keys
from tunefleet.plan.plan import Plan


def halved(plan: Plan) -> Plan | None:
    """The same run with half the micro-batch and twice the accumulation; None where it is one row already.

    An odd micro-batch is divided by the least number that divides it: 9 become 3. It is the same run: the loss of a
    step is a sum over tokens, whichever way its rows are split, and the order of rows does not know the split. So
    `identity` stays, and it resumes from its checkpoints.
    """
    rows = plan.batch.micro
    if rows == 1:
        return None
    return _with_micro_batch(
        plan, _smaller(rows), f"memory ran out with train.micro_batch={rows}: resuming with {_smaller(rows)}"
    )


def _smaller(rows: int) -> int:
    """The largest number below `rows` that divides it, so that the global batch stays."""
    return next(rows // factor for factor in range(2, rows + 1) if rows % factor == 0)


def split(plan: Plan) -> Plan | None:
    """`halved`, where `train.on_oom` wants that."""
    return halved(plan) if plan.config.train.on_oom is OnOom.SPLIT else None


def as_before(plan: Plan, saved: Plan) -> Plan:
    """`plan` with the micro-batch that `saved`, an earlier start of the same run, came down to."""
    may_split = saved.identity == plan.identity and plan.config.train.on_oom is OnOom.SPLIT
    was_split = saved.batch.micro < plan.batch.micro and saved.batch.total == plan.batch.total
    if not (may_split and was_split):
        return plan
    return _with_micro_batch(
        plan, saved.batch.micro, f"train.micro_batch={saved.batch.micro}, as memory ran out before"
    )


def next_setting(plan: Plan) -> str:
    """What to type after a run that ran out of memory; or what is done without it, under `train.on_oom=split`."""
    train = plan.config.train
    if smaller := split(plan):
        return f"it resumes with train.micro_batch={smaller.batch.micro}, where tunefleet has started its processes"
    if plan.batch.micro > 1:
        rows = _smaller(plan.batch.micro)
        return f"train.micro_batch={rows} train.global_batch={plan.batch.total}, or train.on_oom=split"
    if not train.gradient_checkpointing:
        return "train.gradient_checkpointing=true"
    stage = plan.config.parallel.zero_stage
    if plan.layout.data_parallel > 1 and stage < 3:
        return f"parallel=zero{stage + 1}"
    return "a shorter train.sequence_length, or more GPUs with parallel=zero3"


def _with_micro_batch(plan: Plan, rows: int, note: str) -> Plan:
    times = plan.batch.micro // rows
    batch = replace(plan.batch, micro=rows, accumulation=plan.batch.accumulation * times)
    train = replace(plan.config.train, micro_batch=rows, global_batch=batch.total)
    config = replace(plan.config, train=train)
    engine = {**plan.engine, **batch_keys(batch, plan.layout), **precision_keys(config.parallel, train, batch)}
    return replace(plan, config=config, batch=batch, engine=engine, notes=(*plan.notes, note))
