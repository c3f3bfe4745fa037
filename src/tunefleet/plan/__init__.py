"""Floor 2: decides everything that can be decided before torch is imported."""

from tunefleet.plan.job import machine_for
from tunefleet.plan.machine import Machine
from tunefleet.plan.make import make
from tunefleet.plan.plan import Plan

__all__ = ["Machine", "Plan", "machine_for", "make"]
