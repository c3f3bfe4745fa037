"""Open-domain questions: short ones of Alpaca's instructions, that no assistant of CLINC150 answers."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from benchmarks.applications.public_files import PublicSet, files

PUBLIC = PublicSet(
    "alpaca_52k",
    "git clone https://github.com/tatsu-lab/stanford_alpaca alpaca_52k",
    "CC BY-NC 4.0",
)
_QUESTION = re.compile(r"(what|why|who|when|where|how|which|is|are|does|do|can|did)\b.*\?")
_WORDS = range(4, 13)


def questions(raw: Path, count: int) -> list[str]:
    """`count` of them in small letters without punctuation, as CLINC150's are; the same at every call."""
    (path,) = files(raw, PUBLIC, "alpaca_data.json")
    texts = dict.fromkeys(
        re.sub(r"[^a-z0-9' ]", "", row["instruction"].lower()).strip()
        for row in json.loads(path.read_text(encoding="utf-8"))
        if not row["input"] and _QUESTION.fullmatch(row["instruction"].lower().strip())
    )
    short = [text for text in texts if len(text.split()) in _WORDS]
    return sorted(short, key=lambda text: hashlib.sha256(text.encode()).digest())[:count]
