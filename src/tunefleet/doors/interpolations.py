"""Interpolations: which resolvers a configuration may use, and which variables of the environment it may read."""

from __future__ import annotations

import os
from typing import Any

from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import OmegaConfBaseException, UnsupportedInterpolationType

from tunefleet.base.errors import ConfigError
from tunefleet.base.secrets import secret_variables
from tunefleet.doors.error_output import RESOLVING

ALLOWED = ("hydra", "now", "oc.dict.keys", "oc.dict.values", "oc.env", "oc.select", "python_version")
"""Resolvers of OmegaConf and Hydra; every other one is taken away, those of other packages too."""
_NO_DEFAULT = object()


def restrict() -> None:
    """Leaves the resolvers of `ALLOWED`, of which `oc.env` reads no secret: what is composed is saved in plan.json."""
    for name in set(BaseContainer._resolvers) - set(ALLOWED):
        OmegaConf.clear_resolver(name)
    OmegaConf.register_new_resolver("oc.env", _environment, replace=True)


def _environment(name: str, default: Any = _NO_DEFAULT) -> str | None:
    """The value of a variable as text, as OmegaConf has it. Raises `ConfigError` for a secret, `KeyError`."""
    if secret_variables({name: os.environ.get(name, "")}):
        raise ConfigError(
            f"the variable {name} looks like a secret, and settings are saved; programs read it themselves."
        )
    if name in os.environ:
        return os.environ[name]
    if default is _NO_DEFAULT:
        raise KeyError(f"Environment variable '{name}' not found")
    return None if default is None else str(default)


def complaint(error: OmegaConfBaseException) -> str:
    """What is wrong with an interpolation, its key first, in one line."""
    message = str(error.msg or error).splitlines()[0].removeprefix(RESOLVING)
    allowed = f". Allowed: {', '.join(ALLOWED)}" if isinstance(error, UnsupportedInterpolationType) else ""
    return f"{error.full_key or 'configuration'}: {message}{allowed}"
