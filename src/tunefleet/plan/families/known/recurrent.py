"""Families of state-space and recurrent models (Mamba, RWKV and hybrids), which cannot be packed."""

from __future__ import annotations

from tunefleet.plan.families.family import Family
from tunefleet.plan.families.refusals import CARRIED_STATE

FAMILIES = tuple(
    Family(model_type, packing=CARRIED_STATE) for model_type in ("bamba", "jamba", "lfm2", "mamba", "mamba2", "rwkv")
)
