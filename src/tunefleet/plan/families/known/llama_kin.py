"""Families near Llama whose parameters are not counted: what is measured of each."""

from __future__ import annotations

from tunefleet.plan.families import gated, ungated
from tunefleet.plan.families.family import Family, Packing, TensorParallelPlan
from tunefleet.plan.families.refusals import EXPERTS, GATE_UP_IN_ONE

FAMILIES = (
    Family(
        "apertus",
        tensor="its activation has weights of its own, of which a rank would see a part of the gradient",
        packing=Packing(),
    ),
    Family("arcee", tensor=gated.TENSOR_NO_GATE, packing=Packing()),
    Family("deepseek_v2", tensor=EXPERTS, packing=Packing()),
    Family("deepseek_v3", tensor=EXPERTS, packing=Packing()),
    Family("ernie4_5", tensor=gated.TENSOR, packing=Packing()),
    Family("exaone4", tensor=gated.TENSOR_HEAD_NORMS, packing=Packing(windowed=True)),
    Family("glm", tensor=GATE_UP_IN_ONE, packing=Packing()),
    Family("glm4", tensor=GATE_UP_IN_ONE, packing=Packing()),
    Family(
        "gpt_oss",
        tensor=EXPERTS,
        packing=Packing(windowed=True),
        attention="it has attention sinks, which SDPA does not",
    ),
    Family("helium", tensor=gated.TENSOR, packing=Packing()),
    Family(
        "hunyuan_v1_dense",
        tensor=TensorParallelPlan(gated.COLUMNS, gated.ROWS, ("query_layernorm", "key_layernorm")),
        packing=Packing(),
    ),
    Family("jetmoe", tensor=EXPERTS, packing=Packing()),
    Family("nemotron", tensor=gated.TENSOR_NO_GATE, packing=Packing()),
    Family(
        "persimmon",
        tensor=TensorParallelPlan(
            ungated.TENSOR_FUSED.columns, ungated.TENSOR_FUSED.rows, ("q_layernorm", "k_layernorm")
        ),
        packing=Packing(),
    ),
    Family("seed_oss", tensor=gated.TENSOR, packing=Packing()),
    Family("smollm3", tensor=gated.TENSOR, packing=Packing(windowed=True)),
)
