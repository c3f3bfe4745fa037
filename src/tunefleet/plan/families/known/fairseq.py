"""Models made with fairseq after OPT's manner: BioGPT (Luo et al. 2022) and XGLM (Lin et al. 2022)."""

from __future__ import annotations

from tunefleet.plan.families.attention_layers import QKV
from tunefleet.plan.families.family import ConfigKeys, Family, Packing, TensorParallelPlan
from tunefleet.plan.families.refusals import OWN_ATTENTION

_TENSOR = TensorParallelPlan((*QKV, "fc1"), ("out_proj", "fc2"))

FAMILIES = (
    Family("biogpt", tensor=_TENSOR, packing=Packing()),
    Family(
        "xglm",
        keys=ConfigKeys("num_layers", "d_model", "attention_heads", "ffn_dim"),
        tensor=_TENSOR,
        packing=Packing(),
        attention=OWN_ATTENTION,
    ),
)
