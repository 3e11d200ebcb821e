"""The notebook runs from top to bottom, and is kept without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebooks" / "first_steps.ipynb"


def test_outputs_are_not_kept() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert cell.cell_type != "code" or (not cell.outputs and cell.execution_count is None)


@pytest.mark.timeout(2400)
@pytest.mark.slow
def test_the_notebook_runs(environment: dict[str, str], tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("--epochs 12", "--epochs 1 --set training.warmup_epochs=0")
    place = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=place)
    client.execute(env=environment | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    texts = ["".join(o.get("text", "") for o in cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    assert any("pan-left" in text or "pan-right" in text for text in texts), "camera finds the movements"
    pictures = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 3
    assert (tmp_path / "runs" / "mine" / "model.safetensors").is_file()
