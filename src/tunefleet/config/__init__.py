"""Floor 1: what the user can set: one dataclass file for each config group, and their loading."""

from tunefleet.config.load import load
from tunefleet.config.run import RunConfig

__all__ = ["RunConfig", "load"]
