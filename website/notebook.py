"""The tutorial as a notebook: run from the first cell to the last, in a folder of its own."""

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"
# Seconds for one cell, on a machine that is busy with other things.
_TIMEOUT = 600


def run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Runs a notebook with this Python and returns it with what it shows.

    Raises nbclient.exceptions.CellExecutionError, which shows the cell that failed.
    """
    root = NOTEBOOK.parents[1]
    # The kernel inherits them.
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=_TIMEOUT,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
        )
        return client.execute()


def rewrite() -> None:
    """Writes what the notebook shows now into it."""
    notebook = run(nbformat.read(NOTEBOOK, as_version=4))
    for cell in notebook.cells:
        # Warnings are of the machine that ran it, and name its folders.
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    # Which Python ran it is of no interest.
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    }
    nbformat.write(notebook, NOTEBOOK)
