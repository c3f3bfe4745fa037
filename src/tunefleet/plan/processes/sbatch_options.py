"""Options of sbatch: settings of `launch` in its words, which cannot smuggle in shell."""

from __future__ import annotations

import re
from typing import Any

from tunefleet.base.errors import ConfigError
from tunefleet.base.units import minutes
from tunefleet.config.launch import LaunchConfig
from tunefleet.plan.processes.slurm_job import Job

_TEXT = re.compile(r"[^\x00-\x1f\x7f\'\"`$\\;\u0085\u2028\u2029]+")
_LINE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\u0085\u2028\u2029]+")
_KEY = re.compile(r"[a-z][a-z0-9-]*")
_MEMORY = re.compile(r"\d+[KMGT]?", re.IGNORECASE)
_SAME_NAMES = ("partition", "account", "qos", "constraint", "gres", "nodelist", "exclude", "reservation", "dependency")
_TEXTS = (*_SAME_NAMES, "mail_type", "mail_user", "python")
_TYPED = {
    "time": "time",
    "mem": "memory",
    "cpus-per-task": "cpus_per_task",
    "gpus-per-node": "gpus_per_node",
    "nodes": "nodes",
    "ntasks-per-node": "processes",
    "tasks-per-node": "processes",
    "signal": "signal_before",
    **{name.replace("_", "-"): name for name in (*_SAME_NAMES, "mail_type", "mail_user", "exclusive")},
}
_SET_BY_TUNEFLEET = {
    *("array", "chdir", "comment", "error", "export", "job-name", "ntasks", "open-mode", "output", "parsable"),
    *("requeue", "no-requeue", "wait", "wrap"),
}


def job(launch: LaunchConfig) -> Job:
    """The job of a run. Raises `ConfigError` with every complaint at once."""
    complaints = [*_bad_texts(launch), *_bad_lines(launch), *_bad_extra(launch), *_bad_gres(launch)]
    limit = 0 if launch.time.isdigit() else _minutes(launch.time)
    if not limit:
        complaints.append(f"launch.time: {launch.time!r} is not allowed. Allowed: 30m, 4h, 1d 12h, '1-12:00:00'.")
    if limit and launch.signal_before >= limit * 60:
        complaints.append(
            f"launch.signal_before: {launch.signal_before} s leave nothing of launch.time={launch.time}. Ask for less."
        )
    if complaints:
        raise ConfigError(*complaints)
    tasks = launch.processes or launch.gpus_per_node or 1
    return Job(launch.nodes, tasks, launch.gpus_per_node, limit, _options(launch, tasks, limit))


def _minutes(text: str) -> int:
    """Minutes of `text`; 0 where it is no time. A bare number is refused: YAML reads 4:00:00 as 14400."""
    try:
        return minutes(text)
    except ValueError:
        return 0


def _options(launch: LaunchConfig, tasks: int, limit: int) -> dict[str, Any]:
    """Everything for sbatch but the name, the comment and the files of output, which the submission knows."""
    options: dict[str, Any] = {
        "nodes": launch.nodes,
        "ntasks_per_node": tasks,
        "time": limit,
        "mem": launch.memory,
        "cpus_per_task": launch.cpus_per_task,
        "gpus_per_node": launch.gpus_per_node if launch.gpus_per_node and not launch.gres else None,
        "exclusive": launch.exclusive or None,
        "mail_type": launch.mail_type,
        "mail_user": launch.mail_user,
        "requeue": True,
        **{name: getattr(launch, name) for name in _SAME_NAMES},
        **{key.replace("-", "_"): value or True for key, value in launch.extra.items()},
    }
    return {key: value for key, value in options.items() if value is not None}


def _bad_texts(launch: LaunchConfig) -> list[str]:
    texts = {name: getattr(launch, name) for name in _TEXTS}
    bad = [name for name, value in texts.items() if value is not None and not _TEXT.fullmatch(value)]
    complaints = [
        f"launch.{name}: {texts[name]!r} has characters that a shell would act on. Leave them out."
        if texts[name]
        else f"launch.{name}: is empty. Leave it out, or give null."
        for name in bad
    ]
    if launch.memory is not None and not _MEMORY.fullmatch(launch.memory):
        complaints.append(f"launch.memory: {launch.memory!r} is not allowed. Allowed: 64G, 500000M, 0 for all.")
    return complaints


def _bad_lines(launch: LaunchConfig) -> list[str]:
    """Lines of `setup` are shell, but each is one line; arguments of srun are quoted, and are one line too."""
    lines = [("setup", line) for line in launch.setup] + [("srun_args", argument) for argument in launch.srun_args]
    return [
        f"launch.{name}: {line!r} is not one line. Give a list." for name, line in lines if not _LINE.fullmatch(line)
    ]


def _bad_gres(launch: LaunchConfig) -> list[str]:
    """GPUs without a process, or processes without one."""
    match = re.search(r"\bgpu(?::[^:,\s]+)?:(\d+)", launch.gres or "")
    if not match or int(match[1]) == launch.gpus_per_node:
        return []
    return [
        f"launch.gres: asks for {match[1]} GPUs of each machine, and launch.gpus_per_node is {launch.gpus_per_node}. "
        f"Set launch.gpus_per_node={match[1]}."
    ]


def _bad_extra(launch: LaunchConfig) -> list[str]:
    complaints = []
    for key, value in launch.extra.items():
        if not _KEY.fullmatch(key):
            complaints.append(
                f"launch.extra: {key!r} is no long option of sbatch, such as licenses. Leave the dashes out."
            )
        elif key in _SET_BY_TUNEFLEET:
            complaints.append(f"launch.extra.{key}: tunefleet sets this itself.")
        elif key in _TYPED:
            complaints.append(f"launch.extra.{key}: use launch.{_TYPED[key]}.")
        elif value and not _TEXT.fullmatch(value):
            complaints.append(f"launch.extra.{key}: {value!r} has characters that a shell acts on.")
    return complaints
