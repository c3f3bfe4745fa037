"""Secrets: what looks like one by its name or its shape, and a text without them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

REDACTED = "***"
FILES: tuple[str, ...] = (
    ".env",
    ".env.*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.kdbx",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pypirc",
)
FILES += (".pgpass", ".git-credentials", ".htpasswd", "credentials", "credentials.json", ".dockercfg")
FILES += ("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519")
"""Names of files that hold secrets, as patterns of `fnmatch`."""
_EXAMPLES = ("*.example", "*.sample", "*.template", "*.dist")
_SHORTEST = 8  # characters of a variable's value that is looked for everywhere

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ALWAYS = re.compile("secrets?|passwords?|passphrase|passwd|jwt|credentials?|creds|bearer|authorization|cookies?")
_ENDINGS = ("password", "passwd", "secret", "apikey", "authtoken", "accesstoken", "accesskey", "sshpass")
_ABOUT_SECRETS = re.compile(
    "files?|path|dir|folder|sock|names?|type|ids?|index|count|limit|length|size|timeout|ttl|mode"
)
_OF_TEXT = re.compile(
    "pad|eos|bos|unk|sep|cls|mask|special|begin|start|end|stop|image|audio|video|next|last|first|per|loss|each|new|prompt|"
    "text|answer|current|tool|turn|additional|extra|unexpected|of|the"
)  # before "token"
_KINDS_OF_KEYS = re.compile(
    "api|access|private|secret|auth|account|encryption|signing|ssh|master|service|storage|deploy|license|hmac|wandb|hub"
)
_ENDS_OF_VARIABLES = re.compile("key|pass|pwd|pat|auth")  # of NAMES_LIKE_THIS, which are no words of code

_QUOTED = r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'"
_BARE = r"(?:[^\s\"',;\\]|\\(?![\"']))+"
_NAME = r"(?<![\w./\-])-{0,2}(?P<name>[A-Za-z_][\w.\-]*)"
_ASSIGNED = re.compile(rf"{_NAME}\\?[\"']?[ \t]{{0,8}}(?:=|:)[ \t]{{0,8}}")  # a name and what is between it and a value
_VALUE = re.compile(rf"(?P<open>\\?[\"']?)(?P<value>{_QUOTED}|{_BARE})")
_LITERAL = re.compile(rf"(?P<open>)(?P<value>{_QUOTED})")
_VARIABLE = re.compile(rf"(?P<head>(?<![\w./\-])(?P<name>[A-Z_][A-Z0-9_]*)=)(?P<open>)(?P<value>{_BARE})")
_OPTION = re.compile(rf"(?P<head>(?<!\S)--?(?P<name>[A-Za-z][\w\-]*)[ \t]+)(?P<open>)(?P<value>{_QUOTED}|[^\s\-]\S*)")
_QUERY = re.compile(r"(?P<head>[?&;](?P<name>[A-Za-z][\w.\-]*)=)(?P<open>)(?P<value>[^&#\s\"'<>]+)")
_SIGNATURES = {"sig", "signature", "x-amz-signature", "x-goog-signature", "key", "auth"}  # in the query of a URL
_NO_VALUE = re.compile(r"(?:|none|null|true|false|[$<{*%].*|\.\.\.)", re.IGNORECASE | re.DOTALL)
_USER_OF_URL = re.compile(
    r"(?P<scheme>\b(?:[A-Za-z][A-Za-z0-9+.\-]{0,20}://|(?:https?|s3|gs|ftps?):/))(?P<user>[^\s/@:\"'<>]*)(?P<password>:[^\s/@\"'<>]*)?@"
)
_HARMLESS_USERS = {"git", "ssh", "user", "anonymous"}
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:(?!-----END ).)*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
    r"|\b(?:hf_|gh[pousr]_|github_pat_|glpat-|npm_|pypi-|wandb_v1_)[A-Za-z0-9_\-]{16,}"
    r"|\bsk-[A-Za-z0-9_\-]{20,}"
    r"|\bxox[abeoprs]-[A-Za-z0-9\-]{10,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[A-Za-z0-9_\-]{35}"
    r"|(?<![\w\-])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?",
    re.DOTALL,
)
_SCHEMES = re.compile(r"(?P<head>\b(?:Bearer|Basic)[ \t]+)(?=\S*[0-9=])[A-Za-z0-9._~+/=\-]{8,}")


def looks_secret(name: str) -> bool:
    """Whether a variable, a setting or a header of this name holds a secret: `SLURM_JWT`, `hub.api_key`, `password`.

    Tokens of a text (`pad_token`), numbers of them (`max_tokens`) and places of files (`HF_TOKEN_PATH`) are none.
    """
    parts = [part.lower() for part in _PARTS.findall(name)]
    if not parts or _ABOUT_SECRETS.fullmatch(parts[-1]):
        return False
    if any(_ALWAYS.fullmatch(part) or part.endswith(_ENDINGS) for part in parts):
        return True
    qualifier, last = ["", *parts][-2:]
    if last == "token":
        return not _OF_TEXT.fullmatch(qualifier)
    if last == "key" and _KINDS_OF_KEYS.fullmatch(qualifier):
        return True
    is_variable = len(parts) > 1 and name.upper() == name
    return is_variable and bool(_ENDS_OF_VARIABLES.fullmatch(last))


def is_secret_file(name: str) -> bool:
    """Whether a file of this name (without its folder) is made to hold secrets: `.env`, `id_rsa`, `server.pem`."""
    name = name.lower()
    is_example = any(fnmatchcase(name, pattern) for pattern in _EXAMPLES)
    return not is_example and any(fnmatchcase(name, pattern) for pattern in FILES)


def redacted(text: str) -> str:
    """`text` with *** in the place of every secret; a text of no secrets comes back as it is.

    Secrets are the values of this process's variables whose names look secret, wherever they occur; users and
    passwords in URLs, and signatures in their queries; what is assigned to a name that looks secret (`password=...`,
    `"token": "..."`, `--api-key ...`); private keys, and the tokens of well-known services by their shapes.
    """
    return _named(_shaped(text), _VALUE)


def redacted_code(text: str) -> str:
    """As `redacted`, for source code: of what is assigned only texts in quotes go, and what a shell sets: `A_KEY=abc`.

    `token = tokens[0]` stays.
    """
    return _VARIABLE.sub(_without_value, _named(_shaped(text), _LITERAL))


def without_own(text: str) -> str:
    """`text` without the values of this process's secret variables; whatever else it holds is left as it is."""
    values = _values_of(tuple(os.environ.items()))
    return values.sub(REDACTED, text) if values else text


def redacted_values(value: Any, name: str = "") -> Any:
    """A JSON value with *** for texts and numbers under names that look secret, and other texts redacted."""
    if isinstance(value, Mapping):
        return {key: redacted_values(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_values(item, name) for item in value]
    if isinstance(value, str):
        return REDACTED if looks_secret(name) and not _NO_VALUE.fullmatch(value) else redacted(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return REDACTED if is_number and looks_secret(name) else value


def secret_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The names of the environment's variables that hold a secret, by their names or in their values."""
    return [name for name, value in environment.items() if looks_secret(name) or _holds_secret(value)]


def forget_slurms() -> None:
    """Takes SLURM's secrets (SLURM_JWT) out of this process's environment: Weights & Biases records all of SLURM's."""
    for name in secret_variables():
        if name.startswith("SLURM_"):
            del os.environ[name]


def _holds_secret(value: str) -> bool:
    return _named(_shaped_alone(value), _VALUE) != value


def _shaped(text: str) -> str:
    """Without this process's own secrets, and without what has the shape of one."""
    return _shaped_alone(without_own(text))


def _shaped_alone(text: str) -> str:
    text = _SHAPES.sub(REDACTED, text)
    text = _USER_OF_URL.sub(_without_user, text) if ":/" in text else text
    text = _QUERY.sub(_without_signature, text) if "?" in text else text
    return _SCHEMES.sub(rf"\g<head>{REDACTED}", text)


def _named(text: str, value: re.Pattern[str]) -> str:
    return _OPTION.sub(_without_value, "".join(_without_assigned(text, value)))


def _without_assigned(text: str, pattern: re.Pattern[str]) -> Iterator[str]:
    """The parts of `text`, without values that match `pattern` behind names that look secret.

    Of `--export=A_KEY=abc` both names are looked at, so a value that stays is looked into.
    """
    end = 0
    for name in _ASSIGNED.finditer(text):
        value = pattern.match(text, name.end()) if name.end() >= end and looks_secret(name["name"]) else None
        if value and not _NO_VALUE.fullmatch(value["value"].strip("\"'")):
            yield text[end : name.end()] + value["open"] + _starred(value["value"])
            end = value.end()
    yield text[end:]


def _starred(value: str) -> str:
    quote = value[0] if value[0] in "\"'" else ""
    return f"{quote}{REDACTED}{quote}"


def _without_value(match: re.Match[str]) -> str:
    value = match["value"]
    if not looks_secret(match["name"]) or _NO_VALUE.fullmatch(value.strip("\"'")):
        return match[0]
    return f"{match['head']}{match['open']}{_starred(value)}"


def _without_signature(match: re.Match[str]) -> str:
    is_secret = looks_secret(match["name"]) or match["name"].lower() in _SIGNATURES
    return f"{match['head']}{REDACTED}" if is_secret else match[0]


def _without_user(match: re.Match[str]) -> str:
    is_harmless = not match["password"] and (not match["user"] or match["user"].lower() in _HARMLESS_USERS)
    return match[0] if is_harmless else f"{match['scheme']}{REDACTED}@"


@lru_cache(maxsize=4)
def _values_of(environment: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """A pattern of the values of secret variables, and of the passwords in the URLs of others, the longest first."""
    values = {value for item in environment for value in _secrets_in(*item) if len(value) >= _SHORTEST}
    spellings = values | {json.dumps(value)[1:-1] for value in values}
    return re.compile("|".join(map(re.escape, sorted(spellings, key=len, reverse=True)))) if values else None


def _secrets_in(name: str, value: str) -> Iterator[str]:
    if looks_secret(name) and not value.startswith("/"):
        yield from {value, *value.splitlines()}
    for match in _USER_OF_URL.finditer(value):
        yield (match["password"] or "")[1:]
