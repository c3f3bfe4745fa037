"""Weights & Biases server: its address, whether there is a key for it, and whether it answers."""

from __future__ import annotations

import configparser
import http.client
import netrc
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from tunefleet.config.tracking import WandbMode

_PUBLIC = "https://api.wandb.ai"
_PROBE_SECONDS = 3.0  # so that a run of seconds has its offline file within what its end waits for
_ALIASES = {"run": "online", "dryrun": "offline"}  # how wandb itself spells its modes in WANDB_MODE


def mode(setting: WandbMode) -> str:
    """online, offline or disabled: `auto` follows WANDB_MODE, else a key decides."""
    if setting is not WandbMode.AUTO:
        return str(setting.value)
    typed = os.environ.get("WANDB_MODE", "")
    return _ALIASES.get(typed, typed) or ("online" if has_key() else "offline")


def address() -> str:
    """The server's address: WANDB_BASE_URL, what `wandb login --host` has written, or the public one."""
    return (os.environ.get("WANDB_BASE_URL") or _configured() or _PUBLIC).rstrip("/")


def has_key() -> bool:
    """Whether the environment or netrc holds a key for the server."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(address()).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def obstacle() -> str:
    """Why no run can be sent now; empty where the server answers, whatever it says. Takes seconds at most.

    A compute node without a network often drops what is sent: nothing is refused, and nothing answers.
    """
    if not has_key():
        return "there is no key (wandb login makes one)"
    server = address()
    try:
        urllib.request.urlopen(server, timeout=_PROBE_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()  # an answer
    except urllib.error.URLError as error:
        return "" if isinstance(error.reason, ssl.SSLError) else f"{server} does not answer ({error.reason})"
    except OSError as error:
        return f"{server} does not answer ({error})"
    except (http.client.HTTPException, ValueError):
        pass  # wandb knows more kinds of servers and proxies than we do
    return ""


def _configured() -> str:
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb")
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read(folder / "settings")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return ""
    return settings.get("default", "base_url", fallback="")
