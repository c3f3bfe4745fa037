"""Floor 2: decides everything that can be decided before torch is imported."""

from tunefleet.plan.make import make
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.machine import Machine
from tunefleet.plan.processes.slurm_job import machine_for

__all__ = ["Machine", "Plan", "machine_for", "make"]
