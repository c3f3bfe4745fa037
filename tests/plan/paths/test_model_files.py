"""Are a model's files found on this machine, and is everything that is missing named?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.config.model import Init, ModelConfig
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import Sources, find, sources

ARCHITECTURE: dict[str, Any] = {
    "model_type": "opt",
    "vocab_size": 64,
    "hidden_size": 16,
    "ffn_dim": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "dropout": 0.1,
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, instead of the person's own."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


def model_folder(folder: Path, *without: str) -> Path:
    """A model in Hugging Face form, as far as its file names go."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"config.json": json.dumps(ARCHITECTURE), "model.safetensors": "", "tokenizer.json": "{}"}
    for name, content in contents.items():
        if name not in without:
            (folder / name).write_text(content)
    return folder


def snapshot(cache: Path, *without: str, commit: str = "4f3c", head: str = "4f3c") -> Path:
    """`org/name` in the cache, as huggingface_hub lays it out."""
    repository = cache / "models--org--name"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(head)
    return model_folder(repository / "snapshots" / commit, *without)


def complaints(model: ModelConfig, data_tokenizer: str | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        sources(model, data_tokenizer)
    return list(caught.value.complaints)


# A folder


def test_a_whole_folder(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    assert sources(ModelConfig(path=str(folder)), None) == Sources(str(folder), str(folder), Architecture(ARCHITECTURE))


def test_a_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert sources(ModelConfig(path="./model"), None).weights == str(folder)


def test_weights_in_several_files(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "model.safetensors")
    (folder / "model-00001-of-00002.safetensors").touch()
    assert sources(ModelConfig(path=str(folder)), None).weights == str(folder)


def test_a_pickle_of_weights_is_read_only_where_that_is_allowed(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "model.safetensors")
    (folder / "pytorch_model.bin").touch()
    (complaint,) = complaints(ModelConfig(path=str(folder)))
    assert complaint.startswith(f"model.path: {folder} holds its weights as a pickle alone (pytorch_model.bin)")
    assert "model.allow_pickle=true" in complaint
    allowed = sources(ModelConfig(path=str(folder), allow_pickle=True), None)
    assert (allowed.weights, allowed.allow_pickle) == (str(folder), True)


def test_the_folder_describes_the_model_when_its_weights_are_loaded(tmp_path: Path) -> None:
    model = ModelConfig(path=str(model_folder(tmp_path)), published={"model_type": "gpt2"})
    assert sources(model, None).architecture.config == ARCHITECTURE


def test_missing_weights(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "model.safetensors")
    (complaint,) = complaints(ModelConfig(path=str(folder)))
    assert complaint.startswith(f"model.path: {folder} holds no weights (*.safetensors or pytorch_model*.bin).")
    assert "model.init=random" in complaint


def test_missing_tokenizer(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "tokenizer.json")
    (complaint,) = complaints(ModelConfig(path=str(folder)))
    assert complaint.startswith("model.tokenizer: no tokenizer for hf on this machine.")
    assert "model.tokenizer=FOLDER (with tokenizer.json or vocab.json or tokenizer.model)" in complaint


def test_pretrained_weights_do_not_take_the_tokenizer_of_the_data(tmp_path: Path) -> None:
    sibling = model_folder(tmp_path / "other")
    folder = model_folder(tmp_path / "model", "tokenizer.json")
    (complaint,) = complaints(ModelConfig(path=str(folder)), data_tokenizer=str(sibling))
    assert complaint.startswith("model.tokenizer:")


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "model.safetensors", "tokenizer.json")
    (folder / "config.json").write_text("[]")
    found_sources = complaints(ModelConfig(path=str(folder), num_layers=1))
    assert [complaint.split(":")[0] for complaint in found_sources] == [
        "model.num_layers",
        "model.path",
        str(folder / "config.json"),
        "model.tokenizer",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"model_type": "op', "cannot be read"),
        (b"", "cannot be read"),
        (b"\xff\xfe\x00\x01", "cannot be read"),
        (b"[]", "has no model_type"),
        (b'{"hidden_size": 16}', "has no model_type"),
    ],
    ids=["half", "empty", "bytes", "list", "no type"],
)
def test_a_damaged_config(tmp_path: Path, content: bytes, reason: str) -> None:
    folder = model_folder(tmp_path)
    (folder / "config.json").write_bytes(content)
    (complaint,) = complaints(ModelConfig(path=str(folder)))
    assert complaint.startswith(f"{folder / 'config.json'}: {reason}")


@pytest.mark.parametrize(
    "path", ["absent", "./absent", "/absent", "absent/", "./a/b", "my models/opt", "org/two--dashes"]
)
def test_a_path_that_is_neither_folder_nor_repository(cache: Path, path: str) -> None:
    (complaint,) = complaints(ModelConfig(path=path))
    assert complaint.startswith(f"model.path: {path} is not on this machine")


def test_no_path_at_all() -> None:
    assert complaints(ModelConfig())[0].startswith("model.path: not set.")


# The Hugging Face cache


def test_a_repository_in_the_cache(cache: Path) -> None:
    folder = snapshot(cache)
    assert find("org/name") == folder
    assert sources(ModelConfig(path="org/name"), None) == Sources(str(folder), str(folder), Architecture(ARCHITECTURE))


def test_of_two_snapshots_the_one_that_main_points_at(cache: Path) -> None:
    snapshot(cache, commit="0a1b", head="9c8d")
    newest = snapshot(cache, commit="9c8d", head="9c8d")
    assert find("org/name") == newest


def test_a_repository_with_nothing_but_a_tokenizer(cache: Path) -> None:
    folder = snapshot(cache, "config.json", "model.safetensors")
    (folder / "tokenizer_config.json").write_text("{}")
    assert find("org/name") == folder


def test_a_download_that_was_cut_off_is_named(cache: Path) -> None:
    snapshot(cache, "model.safetensors")
    (complaint,) = complaints(ModelConfig(path="org/name"))
    assert "holds no weights" in complaint


def test_a_repository_that_is_not_there_names_the_way_to_get_it(cache: Path) -> None:
    (complaint,) = complaints(ModelConfig(path="org/name"))
    assert complaint.startswith("model.path: org/name is not on this machine")
    for way in ("`hf download org/name`", "model.path=FOLDER", "model.init=random"):
        assert way in complaint


@pytest.mark.parametrize("path", ["/org", "./org", "~/org"])
def test_a_folder_that_is_not_there_is_not_fetched_from_the_hub(cache: Path, path: str) -> None:
    (complaint,) = complaints(ModelConfig(path=path))
    assert "hf download" not in complaint


def test_a_folder_comes_before_the_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot(cache)
    folder = model_folder(tmp_path / "org" / "name")
    monkeypatch.chdir(tmp_path)
    assert find("org/name") == folder


# From scratch


def scratch(**settings: Any) -> ModelConfig:
    return ModelConfig(**{"init": Init.RANDOM, "architecture": ARCHITECTURE, **settings})


def test_from_scratch_with_the_tokenizer_of_the_data(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "tokenizer", "config.json", "model.safetensors")
    assert sources(scratch(), str(folder)) == Sources(
        None, str(folder), Architecture(ARCHITECTURE), tuple(ARCHITECTURE)
    )


def test_the_models_own_tokenizer_comes_first(tmp_path: Path) -> None:
    tokenizer_files, path, data = (model_folder(tmp_path / name) for name in ("own", "path", "data"))
    model = scratch(tokenizer=str(tokenizer_files), path=str(path), architecture={})
    assert sources(model, str(data)).tokenizer == str(tokenizer_files)
    assert sources(scratch(path=str(path)), str(data)).tokenizer == str(path)


def test_from_scratch_without_any_tokenizer(cache: Path) -> None:
    (complaint,) = complaints(scratch(path="org/name"))
    assert complaint.startswith("model.tokenizer: no tokenizer for hf on this machine.")
    assert complaint.endswith("or fetch org/name with `hf download`.")


@pytest.mark.parametrize("key", ["model.tokenizer", "data.tokenizer"])
def test_a_tokenizer_that_is_not_there_is_named_with_its_key(cache: Path, key: str) -> None:
    model = scratch(tokenizer="org/words" if key == "model.tokenizer" else None)
    (complaint,) = complaints(model, "org/words")
    assert complaint.startswith(f"{key}: org/words is not a folder with tokenizer.json")


def test_nothing_says_what_the_model_looks_like(tmp_path: Path) -> None:
    (complaint,) = complaints(scratch(architecture={}, tokenizer=str(model_folder(tmp_path))))
    assert complaint.startswith("model.architecture: nothing says what hf looks like.")


def test_what_is_written_wins_over_the_folder_from_scratch(tmp_path: Path) -> None:
    folder = str(model_folder(tmp_path))
    written = {**ARCHITECTURE, "num_hidden_layers": 9}
    assert sources(scratch(path=folder, architecture=written), None).architecture.config["num_hidden_layers"] == 9
    assert sources(scratch(path=folder, architecture={}), None).architecture.config == ARCHITECTURE
    changed = sources(scratch(path=folder, architecture={"num_hidden_layers": 9}), None).architecture.config
    assert changed == {**ARCHITECTURE, "num_hidden_layers": 9}  # the rest is the folder's


def test_fewer_layers_and_another_dropout_do_not_change_the_card(tmp_path: Path) -> None:
    model = scratch(num_layers=1, dropout=0.25, tokenizer=str(model_folder(tmp_path)))
    changed = sources(model, None).architecture.config
    assert changed["num_hidden_layers"] == 1
    assert changed["dropout"] == 0.25
    assert set(changed) == set(ARCHITECTURE)  # those by default: tests/model/test_configuration.py
    assert (ARCHITECTURE["num_hidden_layers"], ARCHITECTURE["dropout"]) == (3, 0.1)


def test_layers_of_a_family_that_we_do_not_know(tmp_path: Path) -> None:
    model = scratch(architecture={"model_type": "rwkv"}, num_layers=2, tokenizer=str(model_folder(tmp_path)))
    (complaint,) = complaints(model)
    assert complaint.startswith("model.num_layers:")
    assert "rwkv" in complaint


def test_pretrained_weights_keep_their_layers(tmp_path: Path) -> None:
    (complaint,) = complaints(ModelConfig(path=str(model_folder(tmp_path)), num_layers=1))
    assert complaint == "model.num_layers: pretrained weights have their own layers. Add model.init=random."
