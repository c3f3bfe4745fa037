"""All rules of the plan, each once: the complaints about a run that is asked for."""

from __future__ import annotations

from tunefleet.plan.rules import (
    adapter_rules,
    code_rules,
    data_rules,
    evaluation_rules,
    launch_rules,
    model_rules,
    offload_rules,
    optimizer_rules,
    pipeline_rules,
    precision_rules,
    retention_rules,
    run_rules,
    secret_rules,
    sequence_rules,
    tensor_rules,
)
from tunefleet.plan.rules.request import Request, Rule, on_config, on_layout, on_model

RULES: tuple[Rule, ...] = (
    on_config(data_rules.complaints),
    on_config(tensor_rules.with_zero_3),
    on_config(tensor_rules.with_sequence),
    on_config(pipeline_rules.with_zero),
    on_config(pipeline_rules.with_offload),
    on_config(precision_rules.loss_scale_of_each_rank),
    on_config(secret_rules.complaints),
    on_config(code_rules.complaints),
    on_config(run_rules.betas),
    on_config(run_rules.log_every),
    on_config(run_rules.tracker_packages),
    on_config(run_rules.artifacts),
    on_config(run_rules.profile),
    on_config(run_rules.mlflow_uri),
    on_config(run_rules.asynchronous),
    on_config(evaluation_rules.complaints),
    on_config(retention_rules.metrics),
    on_config(retention_rules.evaluations),
    on_model(retention_rules.disk_budget),
    on_config(run_rules.name),
    on_config(run_rules.output_dir),
    launch_rules.restarts,
    on_config(offload_rules.stage),
    on_layout(offload_rules.nvme),
    on_config(offload_rules.checkpoints),
    on_layout(offload_rules.quantized_on_cpu),
    on_layout(offload_rules.second_copy),
    on_config(optimizer_rules.whole_matrices),
    on_config(optimizer_rules.states_on_nvme),
    on_layout(optimizer_rules.eight_bit),
    optimizer_rules.eight_bit_size,
    on_layout(precision_rules.fp16_on_cpu),
    on_config(precision_rules.master_weights),
    tensor_rules.model,
    on_config(sequence_rules.with_pipeline),
    sequence_rules.model,
    on_model(pipeline_rules.model),
    on_config(model_rules.tokens),
    on_model(model_rules.packing_is_exact),
    model_rules.attention,
    on_model(model_rules.positions),
    on_config(adapter_rules.unused),
    on_config(adapter_rules.freeze),
    on_config(adapter_rules.train_only),
    on_config(adapter_rules.lr_ratio),
    on_config(run_rules.neftune),
    on_model(adapter_rules.targets),
    on_config(adapter_rules.with_split_layers),
    on_config(adapter_rules.export),
    on_layout(adapter_rules.quantised),
)
"""In the order in which their complaints are told."""


def complaints(request: Request) -> list[str]:
    """What cannot work about `request`."""
    return [complaint for rule in RULES for complaint in rule(request)]
