"""The notebook runs as it stands, without a network."""

import nbformat
import pytest


def test_the_notebook_runs_and_shows_curves_and_a_confusion_matrix(monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from website.notebook import NOTEBOOK, run

    # Nothing that wants to be downloaded would be.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    kept = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(kept)
    found = run(kept)
    shown = [output for cell in found.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 5
    printed = "".join(output.get("text", "") for output in shown)
    assert "macro avg" in printed
    assert "report: workspace/evaluations/v1/report.html" in printed
