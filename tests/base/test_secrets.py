"""Is a secret known by its name or its shape, taken out of any text, and everything else left as it is?"""

from __future__ import annotations

import dataclasses
import time

import pytest

from tunefleet.base import secrets
from tunefleet.config.run import RunConfig

CANARY = "canary-5f3a9b7c"  # of no shape: known by what stands around it
NAMES = """
SLURM_JWT WANDB_API_KEY HF_TOKEN HUGGING_FACE_HUB_TOKEN AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
PGPASSWORD DB_PASS
GITHUB_PAT COMET_KEY api_key apiKey hub.token token password PASSWORD MYSQL_PWD client_secret private-key
GOOGLE_APPLICATION_CREDENTIALS_JSON authorization x-api-key OPENAI_API_KEY my.passwd authToken NPM_AUTH
"""
HARMLESS_NAMES = """
pad_token eos_token image_token max_tokens tokens train/tokens_per_second TOKENIZERS_PARALLELISM
PATH PWD OLDPWD HOME
HF_TOKEN_PATH WANDB_IDENTITY_TOKEN_FILE SSH_AUTH_SOCK pad_token_id sort_key key keys per_token author secretary
authors monkey compass HYDRA_FULL_ERROR SLURM_JOB_ID KUBERNETES_PORT
"""
TEXTS = (
    "API_KEY={}",
    "export HF_TOKEN={} && ls",
    "password: {}",
    "train.py +hub.token={} seed=1",
    "train.py '+hub.token=\"{}\"'",
    'launch.setup=["export X_TOKEN={}"]',
    '{{"token": "{}", "a": 1}}',
    '{{"line": "{{\\"token\\": \\"{}\\"}}"}}',
    "{{'password': '{}'}}",
    "login --token {} --verbose",
    "login --api-key '{}'",
    "login --api-key={} -v",
    "https://user:{}@host/rows.jsonl",
    "https://{}@github.com/team/code.git",
    "ssh://deploy:{}@host/code.git",
    "postgresql://me:{}@db:5432/x",
    "https://host/rows.jsonl?part=1&token={}&x=2",
    "https://bucket.s3.amazonaws.com/rows?X-Amz-Signature={}",
    "sends Bearer {}",
    "+SECRET_KEY = '{}'",
)
HARMLESS_TEXTS = (
    "pad token: <|endoftext|>, 3 tokens",
    "token=null password=None api_key=${oc.env:KEY}",
    "https://github.com/team/code.git?tab=readme ssh://git@host/code.git git@github.com:a/b.git",
    "export WANDB_API_KEY=$(cat ~/.key) HF_TOKEN=$MINE",
    "commit 4ad3f0c2b1e09f8d7c6b5a4938271605f4e3d2c1",
    "sk-learn, disk-based, Basic understanding, eyJ, AKIA",
    "optimizer.lr=1e-4 schedule.warmup=3% model.tokenizer=/x",
)


@pytest.mark.parametrize("name", NAMES.split())
def test_names_of_secrets(name: str) -> None:
    assert secrets.looks_secret(name)


@pytest.mark.parametrize("name", HARMLESS_NAMES.split())
def test_names_that_only_look_alike(name: str) -> None:
    assert not secrets.looks_secret(name)


def test_no_setting_of_ours_has_the_name_of_a_secret() -> None:
    groups = {name: group for name, group in vars(RunConfig()).items() if dataclasses.is_dataclass(group)}
    names = [f"{name}.{field.name}" for name, group in groups.items() for field in dataclasses.fields(group)]
    assert len(names) > 50
    assert [name for name in names if secrets.looks_secret(name)] == []


@pytest.mark.parametrize("text", TEXTS)
def test_a_secret_is_taken_out_by_what_stands_around_it(text: str) -> None:
    assert secrets.redacted(text.format(CANARY)) == text.format(secrets.REDACTED).replace("user:***", "***").replace(
        "deploy:***", "***"
    ).replace("me:***", "***")


@pytest.mark.parametrize("text", HARMLESS_TEXTS)
def test_a_text_of_no_secrets_is_left_as_it_is(text: str) -> None:
    assert secrets.redacted(text) == text


@pytest.mark.parametrize(
    "token",
    [
        "hf_" + "aB3" * 10,
        "ghp_" + "a1B2" * 9,
        "sk-" + "proj-abc123" * 3,
        "AKIA" + "ABCD1234" * 2,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_tokens_of_services_are_known_by_their_shape(token: str) -> None:
    assert secrets.redacted(f"see {token}.") in ("see ***.", "see ***")


@pytest.mark.parametrize("text", ["a {} b", "--to={}x", '{{"run": "/{}/y"}}', "{}"])
def test_what_a_secret_variable_holds_is_taken_out_wherever_it_occurs(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = 'no "shape" at all\\'
    for spelling in (value, value.replace("\\", "\\\\").replace('"', '\\"')):
        assert secrets.redacted(text.format(spelling)) == text.format(spelling)  # the control: nobody told of it
    monkeypatch.setenv("SLURM_JWT", value)
    for spelling in (value, value.replace("\\", "\\\\").replace('"', '\\"')):
        assert secrets.redacted(text.format(spelling)) == text.format(secrets.REDACTED)


def test_a_password_in_the_address_of_a_proxy_is_known_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{CANARY}@proxy:3128")
    assert secrets.redacted(f"cannot log in with {CANARY}") == "cannot log in with ***"
    assert "HTTPS_PROXY" in secrets.secret_variables()
    assert secrets.secret_variables({"A": "x", "B_TOKEN": "y", "C": "password=z", "D": "1"}) == ["B_TOKEN", "C"]


def test_code_keeps_its_expressions_and_loses_its_literals() -> None:
    code = 'run("X_KEY=abc")\n+token = tokens[i]\n+api_key=self.key,\n+API_KEY = "abc"\n+url = "https://a:b@c"\n'
    assert secrets.redacted_code(code) == code.replace("abc", "***").replace("a:b@", "***@")


def test_values_lose_what_stands_under_a_secret_name() -> None:
    values = {
        "hub": {"token": "x", "pin": {"password": 1234}},
        "urls": ["https://a:b@c"],
        "pad_token": "x",
        "token": None,
    }
    assert secrets.redacted_values(values) == {
        "hub": {"token": "***", "pin": {"password": "***"}},
        "urls": ["https://***@c"],
        "pad_token": "x",
        "token": None,
    }


@pytest.mark.parametrize(
    "text",
    [
        "eyJ-" * 100_000,
        "a" * 400_000,
        "a+" * 200_000,
        "a://" * 100_000,
        "&a" * 200_000,
        "-----BEGIN A" * 40_000,
        "token" * 80_000,
        "token:" * 80_000,
        "--token " * 50_000,
        " " * 400_000,
        '\\"' * 200_000,
        "Bearer " * 60_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    secrets.redacted(text)
    assert time.process_time() - began < 3  # measured: 0.05 s; a pattern that goes back and forth takes minutes
