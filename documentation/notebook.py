"""Notebook: executes docs/python.ipynb in a folder of its own, and keeps what it printed and drew.

python -m documentation.notebook
"""

from __future__ import annotations

import tempfile
from pathlib import Path

NOTEBOOK = Path(__file__).parents[1] / "docs" / "python.ipynb"
MINUTES = 10


def execute(path: Path, folder: Path) -> None:
    """Runs every cell in `folder` and writes what it printed and drew into `path`, without progress and warnings.

    Raises nbclient's CellExecutionError.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=60 * MINUTES, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        execute(NOTEBOOK, Path(folder))
    print(NOTEBOOK)
