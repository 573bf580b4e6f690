"""Outputs of the committed notebooks; nbmake runs each notebook as a separate test (see setup.cfg)."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from helpers.repository import REPOSITORY

pytestmark = pytest.mark.integration

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
README = (REPOSITORY / "README.md").read_text()

# Set for the kernels that nbmake starts from this process, which fixtures do not reach. One thread each, because the suite
# already uses all cores.
os.environ |= {"WANDB_MODE": "disabled", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def outputs(notebook) -> list[dict]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_readme_links_all_notebooks():
    assert [path.name[0] for path in NOTEBOOKS] == ["1", "2", "3", "4", "5"]
    assert all(f"(notebooks/{path.name})" in README for path in NOTEBOOKS)


def test_outputs_are_of_one_complete_run(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    printing = [cell for cell in code if re.search(r"^(print|plt\.show|show)\(", cell.source, re.MULTILINE)]
    assert printing and all(cell.outputs for cell in printing)
    assert any("image/png" in output.get("data", {}) for output in outputs(notebook))


def test_outputs_are_clean(notebook):
    for output in outputs(notebook):
        assert output.output_type != "error" and output.get("name") != "stderr", output
        text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not re.search(r"(^|[\s'\"])/(tmp|home|root|work|usr)/", text), text


def test_starts_and_ends_with_text_and_has_a_plot(notebook):
    kinds = [
        "plot" if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])) else cell.cell_type
        for cell in notebook.cells
    ]
    assert kinds[0] == "markdown" and kinds[-1] == "markdown" and "plot" in kinds


@pytest.mark.parametrize(("source", "status"), [("assert 1 + 1 == 2", 0), ("assert 1 + 1 == 3", 1)], ids=["passes", "fails"])
def test_failing_cell_fails_the_notebook(source, status, tmp_path):
    cells = [nbformat.v4.new_code_cell(source)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "small.ipynb")
    command = [sys.executable, "-m", "pytest", "-c", REPOSITORY / "setup.cfg", "--rootdir", tmp_path, "-p", "no:cacheprovider"]
    done = subprocess.run([*command, "-p", "no:xdist", "small.ipynb"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
