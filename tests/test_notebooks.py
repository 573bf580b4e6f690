"""Outputs of the committed notebooks; nbmake runs each notebook as a separate test (see setup.cfg)."""

import os
import re

import nbformat
import pytest
from helpers.repository import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
SITE = (REPOSITORY / "mkdocs.yml").read_text()

# Set for the kernels that nbmake starts from this process, which fixtures do not reach. One thread each, because the suite
# already uses all cores.
os.environ |= {"WANDB_MODE": "disabled", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_site_has_all_notebooks():
    assert [path.name[0] for path in NOTEBOOKS] == ["1", "2", "3", "4", "5"]
    assert all(f"- notebooks/{path.name}\n" in SITE for path in NOTEBOOKS)


def test_outputs_are_of_one_complete_run(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    printing = [cell for cell in code if re.search(r"^(print|plt\.show|show)\(", cell.source, re.MULTILINE)]
    assert printing and all(cell.outputs for cell in printing)
    assert notebook.cells[0].cell_type == notebook.cells[-1].cell_type == "markdown"


def test_outputs_are_clean_and_have_a_plot(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    for output in outputs:
        assert output.output_type != "error" and output.get("name") != "stderr", output
        text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not re.search(r"(^|[\s'\"])/(tmp|home|root|work|usr)/", text), text
