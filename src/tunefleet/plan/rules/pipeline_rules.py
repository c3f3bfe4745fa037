"""Rules of pipelines: what they cannot be combined with, and which models have stages."""

from __future__ import annotations

from tunefleet.config import RunConfig
from tunefleet.config.parallel import ParallelConfig, Partition, Place
from tunefleet.plan.estimate.pipeline_stages import idle
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.registry import with_stages
from tunefleet.plan.processes.batch import Batch
from tunefleet.plan.processes.layout import Layout


def with_zero(config: RunConfig) -> list[str]:
    """Stages 2 and 3 shard gradients after each micro-batch."""
    parallel = config.parallel
    if parallel.pipeline == 1 or parallel.zero_stage <= 1:
        return []
    return [
        f"parallel.zero_stage: {parallel.zero_stage} does not go with a pipeline: a stage keeps its gradients "
        "whole until the last micro-batch. Use parallel.zero_stage=1, or parallel.pipeline=1."
    ]


def with_offload(config: RunConfig) -> list[str]:
    """Offloaded stages have not been measured."""
    if config.parallel.pipeline == 1 or config.parallel.offload_optimizer is Place.NONE:
        return []
    return [
        "parallel.offload_optimizer: does not go with a pipeline: that stages in host memory train the same has not "
        "been measured. Use parallel.offload_optimizer=none, or parallel=zero2_offload."
    ]


def model(config: RunConfig, architecture: Architecture) -> list[str]:
    """The model can be cut into that many stages."""
    stages, name = config.parallel.pipeline, config.model.name
    if stages == 1:
        return []
    if reason := _refusal(name, architecture):
        return [reason]
    try:
        blocks = architecture.dimensions.layers
    except ValueError as error:
        return [f"parallel.pipeline: {name} cannot be cut into stages: {error}."]
    if stages <= blocks:
        return []
    return [
        f"parallel.pipeline: {stages} stages need a block each, and {name} has {blocks}. "
        f"Use parallel.pipeline={blocks} or less."
    ]


def _refusal(name: str, architecture: Architecture) -> str | None:
    if not architecture.family.pipeline:
        return (
            f"parallel.pipeline: {name} is of the family {architecture.model_type}, which has no stages; these have: "
            f"{', '.join(with_stages())}. Use parallel.pipeline=1; zero3 shards any weights."
        )
    if layerdrop := architecture.config.get("layerdrop"):
        return (
            f"parallel.pipeline: {name} leaves blocks out at random (layerdrop={layerdrop}), "
            "and stages cannot do so together. Use parallel.pipeline=1; zero3 shards any weights."
        )
    return None


def notes(parallel: ParallelConfig, layout: Layout, batch: Batch) -> list[str]:
    """What is worth knowing about a pipeline that is legal."""
    if layout.pipeline == 1:
        unused = parallel.partition is not Partition.PARAMETERS
        return [f"parallel.partition={parallel.partition.value} is not used: there is no pipeline."] if unused else []
    if batch.accumulation >= layout.pipeline:
        return []
    share = idle(layout.pipeline, batch.accumulation)
    enough = 4 * layout.pipeline
    return [
        f"the stages of the pipeline wait for {share:.0%} of a step: accumulation {batch.accumulation} is less than "
        f"{layout.pipeline} stages. train.global_batch={batch.micro * batch.data_parallel * enough} would make it "
        f"{idle(layout.pipeline, enough):.0%}."
    ]
