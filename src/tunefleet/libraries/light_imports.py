"""torch and transformers without what training never uses: a third of their four thousand modules.

torch's compiler waits until it is asked for more than to leave a function alone: transformers and torch's optimizers
mark functions that are not to be compiled, and import all of it for that, with sympy. Nothing here compiles. A function
that is marked before the compiler is there stays as it is; whoever compiles all the same (a user's own metric) gets the
compiler itself. transformers is told that it has neither scipy (losses of object detection) nor DTensors (parallelism
that DeepSpeed does here).

Read in torch 2.13.0 and transformers 5.23.0. This source also runs alone, before that of `runs/plain_reader.py`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_OPERATOR = (
    f"{_COMPILER}._trace_wrapped_higher_order_op"  # transformers' masks take it from there: no compiler is in it
)
_DTENSORS = "torch.distributed.tensor"
_PARTS = ("is_scipy_available", "is_torch_distributed_available")


class _Rules:
    """`trace_rules`: a table that every new process group empties."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_compiler().trace_rules, name)

    @staticmethod
    def clear_lru_cache() -> None:
        """Nothing: the table is not there."""


class _Frames:
    """`eval_frame`: accelerate asks whether a model is a compiled one."""

    OptimizedModule = type("OptimizedModule", (), {})

    def __getattr__(self, name: str) -> Any:
        return getattr(_compiler().eval_frame, name)


class _LateCompiler(ModuleType):
    """Stands for the module until something else of it is asked for."""

    trace_rules, eval_frame = _Rules(), _Frames()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # `inspect` asks every module; a submodule needs the path
            raise AttributeError(name)
        return getattr(_compiler(), name)

    @staticmethod
    def disable(function: Any = None, *_: Any, **__: Any) -> Any:
        """The function itself, or what returns it."""
        return (lambda marked: marked) if function is None else function

    @staticmethod
    def assume_constant_result(function: Any) -> Any:
        """The function itself."""
        return function

    allow_in_graph = assume_constant_result

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        """Nothing: there is no graph."""


def lighten() -> None:
    """For what is imported from now on; call it before transformers' models are."""
    if _COMPILER not in sys.modules:
        sys.modules[_COMPILER] = _LateCompiler(_COMPILER)
        _import_without_package(_OPERATOR)
        vars(importlib.import_module("torch.distributed"))["__getattr__"] = _late_dtensors
    for module in ("transformers.utils", "transformers.utils.import_utils"):
        vars(importlib.import_module(module)).update(dict.fromkeys(_PARTS, _no))


def _import_without_package(name: str) -> None:
    """A module of the package that is not there."""
    torch = importlib.import_module("torch")
    package = vars(sys.modules[_COMPILER])
    package["__path__"] = [f"{torch.__path__[0]}/_dynamo"]
    importlib.import_module(name)
    del package["__path__"]


def _late_dtensors(name: str) -> Any:
    """What `torch.distributed` lacks: peft takes it for granted that somebody has imported this part of it."""
    if name == "tensor":
        return importlib.import_module(_DTENSORS)
    raise AttributeError(f"module 'torch.distributed' has no attribute {name!r}")


def _no() -> bool:
    return False


def _compiler() -> Any:
    if isinstance(sys.modules.get(_COMPILER), _LateCompiler):
        del sys.modules[_COMPILER]
    return importlib.import_module(_COMPILER)
