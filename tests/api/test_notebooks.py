"""The notebooks run from top to bottom, with real runs, in a work folder and a home of their own."""

import os
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from support.paths import ROOT

NOTEBOOKS = ROOT / "notebooks"


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a notebook by name; returns its code cells, and what stands below them."""
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("XDG_", "JUPYTER_", "RUNNER_", "IPYTHON", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def run(name: str) -> tuple[list[Any], str]:
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        nbclient.NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(work)}}
        ).execute()
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        outputs = [output for cell in cells for output in cell.outputs]
        return cells, "".join(output.get("text") or output["data"]["text/plain"] for output in outputs)

    return run


def test_the_first_run(executed: Any, tmp_path: Path) -> None:
    cells, outputs = executed("first-run")
    assert "'succeeded'" in outputs
    assert "artifacts/model/model.safetensors" in outputs
    assert "did you mean `learning_rate`?" in outputs
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["quickstart-model"]
    [followed] = [cell for cell in cells if "run.follow" in cell.source]
    # One output that was replaced again and again: a bar for browsers, a line for others; and what the cell returns.
    progress, returned = followed.outputs
    assert (progress.output_type, returned.output_type) == ("display_data", "execute_result")
    assert "succeeded" in progress.data["text/plain"]
    assert "step 6/6" in progress.data["text/plain"]
    assert '<progress style="width: 20em" value="6" max="6">' in progress.data["text/html"]


@pytest.mark.thorough
def test_three_runs_compared(executed: Any) -> None:
    _, outputs = executed("compare-three-runs")
    assert "best: rate-" in outputs
    assert "'training.learning_rate': {'rate-" in outputs
    assert "0.0001" in outputs


@pytest.mark.thorough
def test_colab_from_top_to_bottom(executed: Any, tmp_path: Path) -> None:
    """Where runner is installed already; what it installs elsewhere is a requirement that pip can read."""
    cells, outputs = executed("colab")
    assert "'succeeded'" in outputs
    assert (tmp_path / "work/my-model/artifacts").is_dir()
    assert (tmp_path / "work/runner-store/runs").is_dir()
    source = "\n".join(cell.source for cell in cells)
    assert source.count("https://") == 1, "the project's address is said once"
    assert '"runner-finetune[train] @ git+{PROJECT}"' in source


def test_each_notebook_is_executed_here() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {"first-run", "compare-three-runs", "colab"}
