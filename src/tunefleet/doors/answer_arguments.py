"""Answer arguments: how a model answers, as `tunefleet chat` and `serve` take it on the command line."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _number(allowed: str, is_allowed: Callable[[float], bool]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not is_allowed(number):
            raise ArgumentTypeError(f"{text!r} is not allowed. Allowed: {allowed}.")
        return number

    return read


def whole_number(allowed: str, least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`, which `allowed` describes. It raises `ArgumentTypeError`."""

    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
        if not least <= number <= most:
            raise ArgumentTypeError(f"{text!r} is not allowed. Allowed: {allowed}.")
        return number

    return read


TEMPERATURE = _number("a number from 0 (greedy) to 5", lambda number: 0 <= number <= 5)
TOP_P = _number("a number above 0, at most 1", lambda number: 0 < number <= 1)
MAX_TOKENS = whole_number("a whole number at least 1", 1, 1 << 31)
SEED = whole_number("a whole number from 0 on", 0, (1 << 63) - 1)
PORT = whole_number("a port from 0 to 65535", 0, 65535)
MODEL: tuple[str, dict[str, Any]] = (
    "run",
    {"metavar": "RUN|FOLDER|MODEL", "help": "a run, the folder of a model, or one of the Hugging Face cache"},
)
OF_ANSWERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--temperature", {"type": TEMPERATURE, "default": 0.0, "metavar": "T", "help": "0, the default, is greedy"}),
    ("--top-p", {"type": TOP_P, "default": 1.0, "metavar": "P", "help": "the likeliest tokens that make up P"}),
    ("--max-tokens", {"type": MAX_TOKENS, "metavar": "N", "help": "of an answer; the run's, else 512"}),
    ("--seed", {"type": SEED, "metavar": "N", "help": "the same answers each time"}),
)
OF_CHAT: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--system", {"default": "", "metavar": "TEXT", "help": "the system prompt"}),
    *OF_ANSWERS,
    ("--beside", {"metavar": "base|RUN|FOLDER|MODEL", "help": "ask this model too, and show both answers"}),
)
OF_SERVING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--host", {"default": "127.0.0.1", "metavar": "HOST", "help": "loopback by default; 0.0.0.0 is every network"}),
    ("--port", {"type": PORT, "default": 8000, "metavar": "PORT", "help": "8000; 0 is any that is free"}),
    ("--name", {"metavar": "NAME", "help": "what clients call the model; the run's name"}),
    ("--api-key-file", {"type": Path, "metavar": "FILE", "help": "asks clients for this key; or TUNEFLEET_API_KEY"}),
    ("--engine", {"choices": ["transformers", "vllm"], "default": "transformers", "help": "vllm where installed"}),
    *OF_ANSWERS,
)
