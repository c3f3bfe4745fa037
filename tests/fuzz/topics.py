"""Topics of input: what is mutated, and what reads it as a command would.

A topic reads a mutant and says `read` or `refused`; whatever else it raises is a fault.
"""

from __future__ import annotations

import atexit
import functools
import gzip
import io
import json
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.mutation import mutant
from tests.fuzz.spoiled import Spoiled
from tunefleet.base.errors import UserError

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"Wo {i}?"},
            {"role": "assistant", "content": "Dört ☕", "weight": i % 2},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        if i == 3
        else None,
    }
    for i in range(12)
]
FLAT = [{"instruction": f"Add {i}", "input": "", "output": f'"{i}", é'} for i in range(12)]
Read = Callable[[Path, str], bool]
"""Reads the mutant that stands at the path, under the name of its sample; returns whether all of it was read."""


@dataclass(frozen=True)
class Topic:
    """`samples` by file name, and what reads one of them once it is mutated."""

    samples: Mapping[str, bytes]
    read: Read

    def attempt(self, seed: int, number: int, folder: Path) -> tuple[str, str]:
        """The sample that mutant `number` was made of, and how it ended: read, or refused. Leaves it in `folder`."""
        name = self.keep(seed, number, folder)
        try:
            return name, "read" if self.read(folder / name, name) else "refused"
        except UserError as error:
            return name, "refused" if all(error.complaints) else "silent"

    def keep(self, seed: int, number: int, folder: Path) -> str:
        """Writes mutant `number` into `folder`, unread; the name of its sample."""
        draw = random.Random(f"{seed}/{number}")
        name = draw.choice(sorted(self.samples))
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mutant(self.samples[name], draw))
        return name


def texts() -> Topic:
    """Files of text in every format."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
    separated = "instruction,input,output\n" + "".join(f'"{r["instruction"]}",,"x ""y"" é"\n' for r in FLAT)
    return Topic(
        {
            "a.jsonl": lines,
            "b.json": json.dumps(FLAT, indent=1, ensure_ascii=False).encode(),
            "c.csv": separated.encode(),
            "d.tsv": separated.replace(",", "\t").replace('"', "").encode(),
            "e.txt": "Es war einmal.\n\nÉ.\n".encode() * 9,
            "f.jsonl.gz": gzip.compress(lines, mtime=0),
        },
        _conversations,
    )


def tables() -> Topic:
    """Arrow and Parquet files in their forms, compressed or not."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    table = arrow.Table.from_pylist(ROWS)
    shared = arrow.array(["x", "y"] * 6).dictionary_encode()
    samples = {}
    for name, codec in (("a.arrow", None), ("b.arrow", "zstd"), ("c.arrow", "lz4")):
        stream = io.BytesIO()
        begin = arrow.ipc.new_file if codec == "lz4" else arrow.ipc.new_stream
        written = table.append_column("source", shared) if codec is None else table
        with begin(stream, written.schema, options=arrow.ipc.IpcWriteOptions(compression=codec)) as writer:
            writer.write_table(written, max_chunksize=5)
        samples[name] = stream.getvalue()
    for name, codec in (("d.parquet", "none"), ("e.parquet", "snappy"), ("f.parquet", "zstd"), ("g.parquet", "gzip")):
        stream = io.BytesIO()
        parquet.write_table(table, stream, compression=codec, row_group_size=7)
        samples[name] = stream.getvalue()
    return Topic(samples, _conversations)


def _conversations(path: Path, name: str) -> bool:
    """Rows to conversations to texts, as a preparation makes them; the files of a whole source are counted too."""
    from tunefleet.base.errors import DataError
    from tunefleet.config.data import SourceConfig, TrainOn
    from tunefleet.data.encode import template, template_source
    from tunefleet.data.formats import collect
    from tunefleet.data.read.sources import Source

    source = Source("train", SourceConfig(path=str(path)))
    chat = template.ChatTemplate(template_source.find("chatml", None), {"bos_token": "<s>", "eos_token": "</s>"})
    source.bounds()
    is_whole = True
    for row in collect.rows(source):
        rendered = [row] if isinstance(row, DataError) else chat.render_all(row, TrainOn.RESPONSE)
        is_whole &= not any(isinstance(part, DataError) for part in rendered)
    return is_whole


def templates() -> Topic:
    """Chat templates."""
    from tunefleet.data.encode.template import ChatTemplate
    from tunefleet.plan.paths.data_files import TEMPLATES

    def render(path: Path, name: str) -> bool:
        from tunefleet.data.encode import template_source

        source = template_source.find(str(path), None)
        assert isinstance(ChatTemplate(source, {"eos_token": "</s>"}).text(ROWS[0]["messages"]), str)  # type: ignore[arg-type]
        return True

    return Topic({path.name: path.read_bytes() for path in sorted(TEMPLATES.glob("*.jinja"))}, render)


def models() -> Topic:
    """Files of a model and its tokenizer."""
    from tests.plans import ARCHITECTURES
    from tunefleet.config.model import ModelConfig
    from tunefleet.model.configuration import configuration
    from tunefleet.model.tokenizer import load
    from tunefleet.plan.paths import model_files

    demo = model_files.BUILT_IN_TOKENIZERS["demo"]
    whole: dict[str, bytes] = {path.name: path.read_bytes() for path in demo.iterdir() if path.is_file()}
    whole["config.json"] = json.dumps(ARCHITECTURES["llama"]).encode()
    whole["generation_config.json"] = b'{"eos_token_id": [2, 3], "max_length": 20}'
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    whole["model.safetensors"] = len(header).to_bytes(8, "little") + header + bytes(16)

    def read(path: Path, name: str) -> bool:
        mutated = path.read_bytes()
        for other, content in whole.items():
            (path.parent / other).write_bytes(mutated if other == name else content)
        sources = model_files.sources(ModelConfig(name="fuzzed", path=str(path.parent)), None)
        configuration(sources)
        tokenizer = load(sources.tokenizer, sources.architecture.model_type)
        assert tokenizer("Wo ist é?")["input_ids"] is not None
        return True

    return Topic({name: content for name, content in whole.items() if name != "model.safetensors"}, read)


def configs() -> Topic:
    """YAML files of experiments, data and sweeps, and words of the command line, which stand in a file one a line."""
    from tunefleet.doors import compose

    samples = {
        "experiment/fuzzed.yaml": "# @package _global_\n# One.\ndefaults:\n  - override /parallel: zero2\n"
        "train: {steps: 20, seed: 3}\noptimizer:\n  lr: 1e-4\n  betas: [0.9, 0.95]\nnotes: &a [x, 'y']\n",
        "data/fuzzed.yaml": "# Rows.\nname: ours\nmix:\n  - {path: a.jsonl, weight: 3}\n"
        "  - path: hub:a/b\n    epochs: 0.5\n",
        "model/fuzzed.yaml": "# Tiny.\nname: tiny\npath: null\ninit: random\n"
        "architecture:\n  model_type: opt\n  vocab_size: 97\n",
        "words": "optimizer.lr=1e-5\ntrain.steps=10\n+data.columns={a: b}\n"
        "checkpoint.every='20 steps'\nmodel.init=random\n",
    }

    def read(path: Path, name: str) -> bool:
        folder = path.parent if name == "words" else path.parent.parent
        if name == "words":
            words = [word for word in path.read_text(errors="replace").splitlines() if word and word[0] != "-"]
        else:
            words = [f"--config-dir={folder}", f"{path.parent.name}=fuzzed"]
        compose.from_overrides(words, with_project_conf=False)
        return True

    return Topic({name: content.encode() for name, content in samples.items()}, read)


def own_files() -> Spoiled:
    """Files of ours in a folder of outputs."""
    from tests.fuzz import own_files

    return own_files.spoiled(_folder())


def trained_run() -> Spoiled:
    """Files of a run with a checkpoint, an export, rows and prepared data."""
    from tests.fuzz import trained_run

    return trained_run.spoiled(_folder())


def _folder() -> Path:
    """One that is there as long as the process is."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def faulty() -> Topic:
    """The control: a reader that raises, then ends its process, and so on."""

    def read(path: Path, name: str) -> bool:
        number = path.parent.parent / "number"
        times = int(number.read_text()) if number.exists() else 0
        number.write_text(str(times + 1))
        if times >= 4:
            return True
        if times % 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        raise ValueError("a bug")

    return Topic({"a": b"a"}, read)


TOPICS: dict[str, Callable[[], Topic | Spoiled]] = {
    "texts": texts,
    "tables": tables,
    "templates": templates,
    "models": models,
    "configs": configs,
    "own_files": own_files,
    "trained_run": trained_run,
}


@functools.cache
def topic(name: str) -> Topic | Spoiled:
    """The topic, ready to read; once, because one of them trains first."""
    made: Any = {**TOPICS, "faulty": faulty}[name]()
    assert isinstance(made, Topic | Spoiled)
    return made
