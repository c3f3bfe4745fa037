"""Output of `train.py` instead of training: --help, --hydra-help, --cfg, --info, and the script for Tab (-sc)."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from hydra._internal.hydra import Hydra
from hydra.types import RunMode

from tunefleet.base.errors import DONE, ConfigError
from tunefleet.doors import compose
from tunefleet.doors.arguments import CONFIG_NAME, Arguments
from tunefleet.doors.hydra_loader import Loader, one_line


def show(typed: Arguments) -> int:
    """Returns the exit code. Raises `ConfigError` where what was typed cannot be composed."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra lets its errors through to us
    loader = compose.opened(typed)
    with one_line():
        _show(Hydra(task_name=CONFIG_NAME, config_loader=loader), loader, typed)
    return DONE


def _show(hydra: Hydra, loader: Loader, typed: Arguments) -> None:
    name, overrides = typed.config_name, list(typed.overrides)
    if typed.act == "cfg":
        _cfg(hydra, loader, typed)
    elif typed.act == "info":
        hydra.show_info(typed.section, config_name=name, overrides=overrides)
    elif typed.act == "help":
        program = f"hydra.help.app_name={'python train.py' if sys.argv[0].endswith('train.py') else 'tunefleet train'}"
        hydra.app_help(config_name=name, args_parser=typed.parser, args=replace(typed, overrides=(*overrides, program)))
    elif typed.act == "hydra_help":
        hydra.hydra_help(config_name=name, args_parser=typed.parser, args=typed)


def _cfg(hydra: Hydra, loader: Loader, typed: Arguments) -> None:
    name, overrides = typed.config_name, list(typed.overrides)
    if typed.package and typed.package != "_global_":
        config = loader.load_configuration(name, overrides, RunMode.RUN)
        if config._get_node(typed.package.split(".")[0]) is None:
            raise ConfigError(f"--package: {typed.package} is not in the composed settings.")
    hydra.show_cfg(name, overrides, typed.section, typed.package, typed.resolve)
