"""Every rule of the plan, once: which complaints does a run that is asked for meet?"""

from __future__ import annotations

from tunefleet.plan.families import lora, sequence
from tunefleet.plan.rules import (
    data_rules,
    model_rules,
    offload_rules,
    optimizer_rules,
    pipeline_rules,
    precision_rules,
    run_rules,
    tensor_rules,
)
from tunefleet.plan.rules.request import Request, Rule, on_config, on_layout, on_model


def _sequence(request: Request) -> list[str]:
    if request.architecture is None:
        return []
    return sequence.complaints(request.config, request.architecture, request.given_processes)


def _adapter(request: Request) -> list[str]:
    if request.architecture is None or request.layout is None:
        return []
    return lora.complaints(request.config, request.layout.device, request.architecture)


RULES: tuple[Rule, ...] = (
    on_config(data_rules.complaints),
    on_config(tensor_rules.with_zero_3),
    on_config(tensor_rules.with_sequence),
    on_config(pipeline_rules.with_zero),
    on_config(pipeline_rules.with_offload),
    on_config(precision_rules.loss_scale_of_each_rank),
    on_config(run_rules.betas),
    on_config(run_rules.log_every),
    on_config(run_rules.name),
    on_config(run_rules.output_dir),
    on_config(offload_rules.stage),
    on_layout(offload_rules.nvme),
    on_config(offload_rules.checkpoints),
    on_layout(offload_rules.quantized_on_cpu),
    on_layout(offload_rules.second_copy),
    on_config(optimizer_rules.whole_matrices),
    on_config(optimizer_rules.states_on_nvme),
    on_layout(optimizer_rules.eight_bit),
    on_layout(precision_rules.fp16_on_cpu),
    on_config(precision_rules.master_weights),
    tensor_rules.model,
    _sequence,
    on_model(pipeline_rules.model),
    on_model(model_rules.packing_is_exact),
    on_model(model_rules.positions),
    _adapter,
)
"""In the order in which their complaints are told."""


def complaints(request: Request) -> list[str]:
    """What cannot work about `request`."""
    return [complaint for rule in RULES for complaint in rule(request)]
