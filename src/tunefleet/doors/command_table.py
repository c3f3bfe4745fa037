"""Command table: every command of `tunefleet` with its arguments and its help; Tab reads it too."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunefleet.base.status import State
from tunefleet.doors import answer_arguments, commands
from tunefleet.doors.sweep_table import SWEEP_COMMANDS

Argument = tuple[str, dict[str, Any]]
"""Its flags, or its name, and what argparse is told of it."""
Command = tuple[str, Callable[[Namespace], int | None], str, Sequence[Argument]]
"""Its name, what it does, its help and its arguments."""

_RUN: Argument = ("run", {"metavar": "RUN", "help": "the run's directory or name"})
_MODEL: Argument = ("run", {"metavar": "RUN|FOLDER|MODEL", "help": "a run, or a model: a folder, a choice, OWNER/NAME"})
_MODELS: Argument = ("runs", {"metavar": "RUN|FOLDER|MODEL", "nargs": "+", "help": "two or more: A B, or A B BASE"})
_PROMPTS: Argument = (
    "--prompts",
    {"type": Path, "metavar": "FILE", "help": "questions: lines, or JSONL with prompt"},
)
_SEED: Argument = ("--seed", {"type": int, "default": 0, "metavar": "N", "help": "of the bootstrap; 0"})
_COMPARE_PAGE: Argument = ("--to", {"type": Path, "metavar": "FILE", "help": "another page than compare.html"})
_OF_CODE: tuple[Argument, ...] = (
    ("--pass-at", {"type": commands.whole_numbers, "default": (), "metavar": "K,K", "help": "pass@k of code answers"}),
    ("--answers", {"type": int, "metavar": "N", "help": "of --pass-at: answers to each question, twice K by default"}),
    (
        "--run-generated-code",
        {"action": "store_true", "help": "of --pass-at: run what the model writes"},
    ),
)
_ON: Argument = ("--on", {"metavar": "DATA", "help": "a file, folder, glob, choice of data, or split of the run"})
_LIMIT: Argument = (
    "--limit",
    {"type": int, "metavar": "N", "help": "so many rows and answers of each split, drawn evenly"},
)
_PREDICTIONS: Argument = ("--to", {"type": Path, "metavar": "FILE", "help": "predictions; RUN/predictions.jsonl"})
_RUNS: Argument = ("runs", {"metavar": "RUN", "nargs": "+", "help": "runs or sweeps"})
_RUNS_OR_ALL: Argument = ("runs", {"metavar": "RUN", "nargs": "*", "help": "runs or sweeps; all where none is given"})
_OVERRIDES: Argument = ("overrides", {})  # whatever is no option of the command, as for `tunefleet train`
_FILTERS: Argument = ("filters", {"nargs": "*", "metavar": "KEY=VALUE", "help": "model=opt-1.3b, optimizer.lr=1e-5"})
_STATES: Argument = ("--state", {"action": "append", "default": [], "choices": [state.value for state in State]})
_FOLLOW: Argument = ("-f --follow", {"action": "store_true", "help": "follow until the run has ended"})
_RANK: Argument = ("--rank", {"type": int, "default": 0, "help": "which process"})
_LINES: Argument = ("-n --lines", {"type": int, "default": 100, "help": "how many of the last lines"})
_YES: Argument = ("-y --yes", {"action": "store_true", "help": "do not ask"})
_AT_ONCE: Argument = ("--now", {"action": "store_true", "help": "do not save"})
_FAILED: Argument = (
    "--failed",
    {"action": "store_true", "help": "only what failed or was preempted, as without RUN"},
)
_TO: Argument = ("--to", {"type": Path, "help": "another folder than RUN/export: new, empty, or a former export"})
_FILE: Argument = ("--to", {"type": Path, "metavar": "FILE", "help": "another file than RUN-bundle.tar.gz: a new one"})
_OVERWRITE: Argument = ("--overwrite", {"action": "store_true", "help": "replace files of the same names there"})
_PAGE: Argument = ("--to", {"type": Path, "metavar": "FILE", "help": "another file than report.html"})
_FOLDER: Argument = ("folder", {"metavar": "OUTPUTS", "type": Path, "nargs": "?", "help": "instead of --outputs"})
_HOST: Argument = ("--host", {"default": "127.0.0.1", "metavar": "ADDRESS", "help": "where it listens; 127.0.0.1"})
_PORT: Argument = ("--port", {"type": int, "default": 8765, "metavar": "N", "help": "8765; 0 is any that is free"})
_EXPOSE: Argument = ("--expose", {"action": "store_true", "help": "allow a --host that other machines reach"})
_READ_ONLY: Argument = ("--read-only", {"action": "store_true", "help": "show, and let nothing be done"})
_CHECKPOINT: Argument = (
    "--checkpoint",
    {"type": commands.checkpoint_choice, "default": "last", "metavar": "last|best|STEP", "help": "which one; last"},
)
_SHELL: Argument = ("shell", {"choices": ["bash", "zsh", "fish"], "help": "which shell"})
_MACHINE: Argument = ("--machine", {"metavar": "MACHINE", "help": "8xH100-80G, 2x8xA100-40G, this, a YAML file"})
_DTYPE: Argument = (
    "--dtype",
    {"choices": ["fp32", "bf16", "fp16"], "help": "of the weights, with --to; as trained"},
)
_SHARD_SIZE: Argument = ("--shard-size", {"type": commands.file_size, "metavar": "SIZE", "help": "of a file: 5GB"})
_TENSORFLOW: Argument = ("--tensorflow", {"type": Path, "metavar": "FOLDER", "help": "write a SavedModel instead"})
_ITS_PYTHON: Argument = ("--tensorflow-python", {"type": Path, "metavar": "PYTHON", "help": "one that has tensorflow"})
_PUSH: Argument = ("--push", {"metavar": "OWNER/NAME", "help": "upload it to the Hugging Face hub, privately"})
_OF_ROWS: Argument = ("--rows", {"type": int, "dest": "of_rows", "metavar": "ROWS", "help": "training rows, for time"})
_MULTIRUN: Argument = ("-m --multirun", {"action": "store_true", "help": "every point of a grid, and their sum"})
_CALIBRATE: Argument = ("--calibrate", {"action": "store_true", "help": "learn from finished runs, for later plans"})
_MERGED: Argument = ("--merged", {"dest": "merge", "action": "store_true", "default": None, "help": "a whole model"})
_ADAPTER_ALONE: Argument = ("--adapter", {"dest": "merge", "action": "store_false", "help": "the adapter alone"})
_ROWS: Argument = ("-n --rows", {"type": int, "metavar": "ROWS", "help": "how many, 5 by default"})
_ROW: Argument = ("--row", {"type": int, "metavar": "NUMBER", "help": "this row; with -n also those behind it"})
_RANDOM: Argument = (
    "--random",
    {"nargs": "?", "const": -1, "type": int, "metavar": "SEED", "help": "rows drawn at random, the same for a SEED"},
)
_SPLIT: Argument = ("--split", {"default": "train", "metavar": "NAME", "help": "validation rows: validation, ..."})
_HTML: Argument = ("--html", {"type": Path, "metavar": "FILE", "help": "write a page instead"})

_FOREIGN: Argument = (
    "file",
    {"nargs": "?", "type": Path, "metavar": "FILE", "help": "YAML, or the shell line of main.py or trl sft"},
)
_EXPERIMENT: Argument = (
    "--to",
    {"type": Path, "metavar": "FILE", "help": "another file than conf/experiment/STEM.yaml"},
)
_PROCESSES: Argument = ("--processes", {"type": int, "metavar": "N", "help": "on how many GPUs it trained"})
_WITHOUT: Argument = (
    "--without",
    {"action": "append", "default": [], "metavar": "OPTION", "help": "leave out what has no counterpart"},
)
_DATASET_DIR: Argument = ("--dataset-dir", {"type": Path, "metavar": "FOLDER", "help": "where dataset_info.json is"})
_CHECK: Argument = ("--check", {"type": Path, "metavar": "FOLDER", "help": "how many of its files convert and plan"})
_OPTIONS: Argument = ("--options", {"action": "store_true", "help": "every option with its counterpart, as Markdown"})
_STEP: Argument = ("--step", {"type": int, "required": True, "metavar": "N", "help": "which step, from 1 on"})
_JSON: Argument = ("--json", {"action": "store_true", "help": "as JSON"})

_OF_DATA = "what `tunefleet train OVERRIDES` would train on"
_DATA_COMMANDS: tuple[Command, ...] = (
    (
        "show",
        commands.show,
        "rows as the model sees them, with the tokens in the loss coloured",
        [_OVERRIDES, _ROWS, _ROW, _RANDOM, _SPLIT, _HTML],
    ),
    (
        "stats",
        commands.stats,
        "rows read, dropped and cut, tokens in the loss, lengths, packing; refused as training is",
        [_OVERRIDES],
    ),
    (
        "prepare",
        commands.prepare,
        "prepare it now, on any machine that shares data.cache; checks what is there",
        [_OVERRIDES],
    ),
    (
        "batch",
        commands.batch,
        "the rows of a step of a run, on each rank; of a step to come too",
        [_RUN, _STEP, _JSON],
    ),
)
_TOKENIZER_TO: Argument = ("--to", {"type": Path, "required": True, "metavar": "FOLDER", "help": "a new folder"})
_VOCABULARY: Argument = ("--vocab", {"type": int, "default": 8000, "metavar": "TOKENS", "help": "at most so many"})
_SPECIAL: Argument = (
    "--special",
    {"action": "append", "default": [], "metavar": "TOKEN", "help": "a token of the chat template: '<|im_start|>'"},
)
_TOKENIZER_COMMANDS: tuple[Command, ...] = (
    (
        "train",
        commands.train_tokenizer,
        "a byte-level BPE of the rows of `tunefleet train OVERRIDES`, for a model from scratch",
        [_OVERRIDES, _TOKENIZER_TO, _VOCABULARY, _SPECIAL],
    ),
)
COMMANDS: tuple[Command, ...] = (
    (
        "completion",
        commands.completion,
        'print the script that binds Tab: eval "$(tunefleet completion bash)"',
        [_SHELL],
    ),
    ("train", commands.train, "train: `tunefleet train [group=choice ...] [group.key=value ...]`", []),
    (
        "plan",
        commands.plan,
        "what `tunefleet train OVERRIDES` would run, whether it fits, how long it takes; nothing is started",
        [_OVERRIDES, _MACHINE, _OF_ROWS, _MULTIRUN, _CALIBRATE],
    ),
    (
        "check",
        commands.check,
        "whether a strategy computes the right thing on this machine: parallel=zero3",
        [_OVERRIDES],
    ),
    (
        "import",
        commands.import_file,
        "a configuration of LLaMA-Factory, Axolotl, TRL or DeepSpeed-Chat as an experiment, and its plan",
        [_FOREIGN, _EXPERIMENT, _OVERWRITE, _PROCESSES, _WITHOUT, _DATASET_DIR, _MACHINE, _CHECK, _OPTIONS],
    ),
    ("status", commands.status, "how runs stand, and why", [_RUNS_OR_ALL]),
    ("ls", commands.ls, "list runs", [_FILTERS, _STATES]),
    ("logs", commands.logs, "what a process of a run wrote", [_RUN, _FOLLOW, _RANK, _LINES]),
    ("cancel", commands.cancel, "end runs for good; those that train save first", [_RUNS, _AT_ONCE]),
    ("resume", commands.resume, "start saved runs again, from their newest checkpoint", [_RUNS]),
    (
        "retry",
        commands.retry,
        "resume those of the runs that are not finished; without RUN, all that failed",
        [_RUNS_OR_ALL, _FAILED],
    ),
    (
        "bundle",
        commands.bundle,
        "one file to send about a run that failed: state, logs, stacks, versions; no weights, data or secrets",
        [_RUN, _FILE],
    ),
    ("sync", commands.sync, "send runs to Weights & Biases that were trained without a network, or a key", [_RUNS]),
    ("rm", commands.rm, "remove runs that are over, for good; asks first", [_RUNS, _YES]),
    (
        "reproduce",
        commands.reproduce,
        "compose a run again, show what differs from then, run it beside the old one",
        [_RUN],
    ),
    (
        "export",
        commands.export,
        "write a checkpoint in Hugging Face form, the newest where none is named",
        [
            _RUN,
            _CHECKPOINT,
            _TO,
            _OVERWRITE,
            _MERGED,
            _ADAPTER_ALONE,
            _DTYPE,
            _SHARD_SIZE,
            _PUSH,
            _TENSORFLOW,
            _ITS_PYTHON,
        ],
    ),
    (
        "report",
        commands.report,
        "a page about a run, or comparing several; needs no network",
        [_RUNS, _PAGE],
    ),
    (
        "board",
        commands.board,
        "all runs and sweeps of a folder, live in a browser on this machine; cancel, resume, stop, clone from there",
        [_FOLDER, _HOST, _PORT, _EXPOSE, _READ_ONLY],
    ),
    (
        "evaluate",
        commands.evaluate,
        "measure a run's model, or one in files, on its validation and test rows or on others; evaluation.beams=8 ...",
        [_MODEL, _CHECKPOINT, _ON, _LIMIT, _JSON, _PREDICTIONS, *_OF_CODE, _OVERRIDES],
    ),
    (
        "compare",
        commands.compare,
        "two or more models on the same rows, side by side, with confidence; writes a page",
        [_MODELS, _ON, _PROMPTS, _CHECKPOINT, _LIMIT, _SEED, _COMPARE_PAGE, _OVERRIDES],
    ),
    (
        "chat",
        commands.chat,
        "talk with a run's model or any other, or pipe a question to it",
        [answer_arguments.MODEL, _CHECKPOINT, *answer_arguments.OF_CHAT],
    ),
    (
        "serve",
        commands.serve,
        "serve a model by OpenAI's API, on this machine alone unless --host says otherwise",
        [answer_arguments.MODEL, _CHECKPOINT, *answer_arguments.OF_SERVING],
    ),
)


GROUPS: dict[str, tuple[str, Sequence[Command]]] = {
    "data": (_OF_DATA, _DATA_COMMANDS),
    "tokenizer": ("tokenizers for models from scratch", _TOKENIZER_COMMANDS),
    "sweep": ("searches: how they stand, and what they are to do", SWEEP_COMMANDS),
}
"""Commands of two words, `tunefleet data show`: the first, its help, and the second ones."""


def options_of(command: str) -> dict[str, Any]:
    """For Tab: the options of a command with the values of each, and the names of its other arguments."""
    if command in GROUPS:
        return {"words": [name for name, *_ in GROUPS[command][1]]}
    arguments_of = {name: arguments for name, _, _, arguments in COMMANDS}
    for group, (_, below) in GROUPS.items():
        arguments_of |= {f"{group} {name}": arguments for name, _, _, arguments in below}
    if command not in arguments_of:
        top = [*(name for name, *_ in COMMANDS), *GROUPS]
        return {} if command else {"words": top, "--help": None, "--version": None, "--outputs": None}
    options = {name: settings.get("choices") for flags, settings in arguments_of[command] for name in flags.split()}
    return {"--help": None, "words": options.get("shell", ()), **options}
