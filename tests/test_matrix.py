"""Every recipe and every cell of every table trains, through the command line."""

import importlib

import pytest
import torch

from refinenet_pl import RefineNet
from refinenet_pl.ablation.plan import cell_options, plan
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import RECIPES, TABLES, find_recipe, find_table, names
from refinenet_pl.cli.main import main
from refinenet_pl.cli.recipes import with_bases

pytestmark = pytest.mark.usefixtures("in_repository")

QUICK = ["--trainer.fast_dev_run=1", "--trainer.enable_model_summary=false", "--trainer.enable_progress_bar=false"]
QUICK += ["--data.num_workers=0", "--data.crop_size=[64, 64]"]
TINY_SCENES = '--data.dataset_options={"size": 64, "samples": 8}'
NETWORK = "model.network.init_args."
NARROW = [f"--{NETWORK}width=8", f"--{NETWORK}deepest_width=16"]
JOBS = [
    pytest.param(table, job, id=f"{table.name}-{job.run.cell}")
    for table in map(read_table, map(find_table, names(TABLES)))
    for job in plan(table, find_recipe("scenes"), [0], None, "runs")
]


@pytest.mark.parametrize("table, job", JOBS)
def test_cell(table, job, tmp_path):
    arguments = [*job.arguments, *QUICK, TINY_SCENES, f"--run.root={tmp_path}"]
    if table.cells[job.run.cell].network_class is None:
        arguments += NARROW
    if any("encoder_name=resnet" in option for option in cell_options(table, job.run.cell, "scenes")):
        arguments.append(f"--{NETWORK}encoder_weights=null")  # would be downloaded
    main(arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("table, job", JOBS)
def test_all_parameters_of_cell_have_gradients(table, job):
    """Required by DDP."""
    settings = table.cell_settings(job.run.cell).items()
    arguments = {s.key.removeprefix(NETWORK): value for s, value in settings if s.key.startswith(NETWORK)}
    small = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3}
    if name := table.cells[job.run.cell].network_class:
        module, _, name = name.rpartition(".")
        network = getattr(importlib.import_module(module), name)(**small)
    else:
        network = RefineNet(**arguments | small | {"width": 8, "deepest_width": 8})
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


# Test layouts of the recipes whose data have none of their own name.
LAYOUTS = {"nyudv2_depth": "nyudv2", "value_folder": "depth_folder"}


@pytest.mark.parametrize("recipe", names(RECIPES))
def test_recipe(recipe, tmp_path, request):
    root, runs = tmp_path / "data", tmp_path / "runs"
    if recipe.startswith("camvid"):
        root = request.getfixturevalue("camvid_root")
    elif not recipe.startswith("scenes"):
        layout = importlib.import_module(f"helpers.layouts.{LAYOUTS.get(recipe, recipe)}")
        layout.build(root)
        if recipe.startswith("nyudv2"):  # crops require images of the official size
            layout.write_labeled(root / "nyu_depth_v2_labeled.mat", 480, 640)
    extra = [*NARROW, "--data.global_batch=2", TINY_SCENES if recipe.startswith("scenes") else f"--data.root={root}"]
    if "encoder_name: resnet" in "".join(file.read_text() for file in with_bases(find_recipe(recipe))):
        extra += [f"--{NETWORK}encoder_name=resnet18", f"--{NETWORK}encoder_weights=null"]  # would be downloaded
    main(["fit", "-c", recipe, *QUICK, *extra, f"--run.root={runs}"])
    assert not runs.exists()
