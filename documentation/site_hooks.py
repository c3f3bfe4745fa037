"""Site hooks: README.md as the first page, and links to files of the repository as their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")  # what is not below docs/ is not part of the site


def on_files(files: Any, config: Any) -> Any:
    """Adds README.md as index.md."""
    from mkdocs.structure.files import File

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\((?!https?:|docs/|#)([^)]*)\)", r"](../\1)", text).replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links that lead out of docs/ become their texts."""
    return _OUTSIDE.sub(r"\1", markdown)
