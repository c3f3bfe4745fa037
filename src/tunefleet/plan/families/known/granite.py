"""Granite (IBM): Llama with multipliers, and its mixture of experts."""

from __future__ import annotations

from dataclasses import replace

from tunefleet.plan.families.family import Family, Packing
from tunefleet.plan.families.known import llama
from tunefleet.plan.families.refusals import EXPERTS

FAMILIES = (
    replace(llama.FAMILIES[0], model_type="granite", pipeline=None, tiny={}),
    Family("granitemoe", tensor=EXPERTS, packing=Packing()),
)
