"""`tunefleet serve`: an OpenAI-compatible server of a run's model, on loopback unless asked otherwise."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import sys
from argparse import Namespace
from pathlib import Path

from tunefleet.base import files, loopback
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.doors import exported
from tunefleet.doors.named_model import NamedModel, named
from tunefleet.libraries.heavy_imports import heavy_imports

KEY = "TUNEFLEET_API_KEY"
"""The variable that a key may be in."""


def serve(args: Namespace, outputs: Path) -> None:
    """Serves until Ctrl-C. Raises `RunError`, `ConfigError`, before anything listens."""
    model, key = named(args.run, outputs), _key(args.api_key_file)
    name = args.name or Path(model.label).name or model.label
    if args.engine == "vllm":
        _become_vllm(model, name, key, args)
    with _listening(args.host, args.port) as listener:
        _serve(model, name, key, args, listener)


def _serve(model: NamedModel, name: str, key: str, args: Namespace, listener: socket.socket) -> None:
    opened = model.open(args.checkpoint)
    with heavy_imports():
        from tunefleet.doors.chat_terminal import new_tokens
        from tunefleet.evaluation.streamed_answer import Sampling
        from tunefleet.serving import http_server, openai_api

    defaults = Sampling(args.temperature, args.top_p, args.max_tokens or new_tokens(model.plan()), args.seed)
    host, port = listener.getsockname()[:2]
    hosts = loopback.NAMES if ipaddress.ip_address(host).is_loopback else ("*",)
    app = openai_api.application(openai_api.Served(opened, name, defaults, key), hosts)
    shown = f"[{host}]" if ":" in host else host
    print(f"serving {name} at http://{shown}:{port}/v1; Ctrl-C ends", flush=True)
    if hosts == ("*",) and not key:
        print(f"tunefleet: whoever reaches {host} may use it: {KEY} or --api-key-file asks for a key", file=sys.stderr)
    http_server.run(app, listener)
    print("stopped", file=sys.stderr)


def _key(file: Path | None) -> str:
    """The key that clients have to give, of a file or of the environment: a command line is for everybody to read."""
    if file is None:
        return os.environ.get(KEY, "").strip()
    try:
        key = files.read_bytes(file).decode("utf-8", "replace").strip()
    except OSError as error:
        raise ConfigError(f"--api-key-file: {file} cannot be read: {error.strerror}.") from None
    if not key:
        raise ConfigError(f"--api-key-file: {file} is empty. Write the key into it.")
    return key


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `ConfigError`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port}: cannot be listened at: {error.strerror}. Choose another port; 0 is any."
        ) from None


def _become_vllm(model: NamedModel, name: str, key: str, args: Namespace) -> None:
    """Replaces this process by vLLM's own server. Raises `ConfigError` where it is not installed."""
    program = shutil.which("vllm", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        raise ConfigError(
            "--engine vllm: vLLM is not installed. Install it (`pip install vllm`), or leave --engine out."
        )
    folder = _folder(model, args.checkpoint)
    command = [program, "serve", str(folder), "--served-model-name", name]
    command += ["--host", args.host, "--port", str(args.port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    os.execve(program, command, environment | ({"VLLM_API_KEY": key} if key else {}))


def _folder(model: NamedModel, checkpoint: str) -> Path:
    """The folder of a whole model. Raises `RunError` for an adapter alone."""
    folder = model.folder
    if model.run:
        plan = exported.ready(model.run)
        exported.expect_model(plan, checkpoint)
        with heavy_imports():
            from tunefleet.runs.checkpoint_export import exported as written

        folder = written(plan, checkpoint)
    assert folder
    if (folder / "adapter_config.json").exists():
        raise RunError(f"{folder}: is an adapter alone. Merge it: `tunefleet export RUN --merged --to FOLDER`.")
    return folder
