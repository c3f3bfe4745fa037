"""Does any line of ours run code that comes with a file: a pickle, a model's own Python, YAML with tags?"""

from __future__ import annotations

import ast

import pytest

from tests.floors.test_imports import ROOT, SOURCES

MUST_SAY = {  # calls that run code unless they say that they do not
    "from_pretrained": ("trust_remote_code", False),
    "from_config": ("trust_remote_code", False),
    "load_dataset": ("trust_remote_code", False),
    "torch.load": ("weights_only", True),
}
MUST_NOT_SAY = {"np.load": "allow_pickle", "numpy.load": "allow_pickle"}
FORBIDDEN = {"yaml.load", "yaml.full_load", "yaml.unsafe_load", "eval", "exec", "load_from_disk"}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
HARMLESS = {("pickle", "UnpicklingError")}


def runs_code(source: str) -> list[str]:
    """What in `source` may run foreign code, as `line: what`."""
    return [f"{node.lineno}: {what}" for node in ast.walk(ast.parse(source)) for what in _reasons(node)]  # type: ignore[attr-defined]


def _reasons(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.split(".")[0] in UNPICKLERS]
    if isinstance(node, ast.ImportFrom) and node.module in UNPICKLERS:
        return [f"{node.module}.{a.name}" for a in node.names if (node.module, a.name) not in HARMLESS]
    return _of_call(node) if isinstance(node, ast.Call) else []


def _of_call(call: ast.Call) -> list[str]:
    name = ast.unparse(call.func)
    said = {word.arg: ast.unparse(word.value) for word in call.keywords if word.arg}
    must = MUST_SAY.get(name) or MUST_SAY.get(name.rsplit(".", 1)[-1] if "." in name else "")
    if must and said.get(must[0]) != str(must[1]):
        return [f"{name} without {must[0]}={must[1]}"]
    return [name] if name in FORBIDDEN or MUST_NOT_SAY.get(name, "") in said else []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_code_that_comes_with_a_file(path: object) -> None:
    assert runs_code(path.read_text(encoding="utf-8")) == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "line",
    [
        "AutoTokenizer.from_pretrained(folder)",
        "AutoConfig.from_pretrained(folder, trust_remote_code=trust)",
        "AutoModelForCausalLM.from_config(config, trust_remote_code=True)",
        "datasets.load_dataset(name, **wanted)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "yaml.load(text)",
        "import pickle",
        "from pickle import loads",
        "def f():\n    import joblib.memory",
    ],
)
def test_control_what_runs_code_is_found(line: str) -> None:
    assert len(runs_code(line)) == 1


def test_control_what_is_safe_is_not() -> None:
    assert not runs_code("torch.load(f, weights_only=True); np.load(f); AutoConfig.for_model(a=1); os.from_config")
