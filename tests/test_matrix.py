"""Every recipe and every cell of every table runs through the real command line, so that none can rot."""

import importlib

import pytest
import torch
from helpers.repository import REPOSITORY

from refinenet_pl import RefineNet
from refinenet_pl.ablation.plan import Job, cell_options, plan
from refinenet_pl.ablation.tables import Cell, read_table
from refinenet_pl.catalog import RECIPES, TABLES, find_recipe, names
from refinenet_pl.cli.main import main

# Narrow, small and without a download; everything else is as the recipe and the table say.
QUICK = [
    "--trainer.fast_dev_run=1",
    "--trainer.enable_model_summary=false",
    "--trainer.enable_progress_bar=false",
    "--data.num_workers=0",
]
TINY_SCENES = [
    '--data.dataset_options={"size": 64, "samples": 8}',
    "--data.crop_size=[64, 64]",
]
NARROW = ["--model.network.init_args.width=8", "--model.network.init_args.deepest_width=16"]
CELLS = [
    pytest.param(job, id=f"{path.stem}-{job.run.cell}")
    for path in sorted(TABLES.glob("*.yaml"))
    for job in plan(read_table(path), find_recipe("scenes"), [0], None, "runs")
]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def cell_of(job: Job) -> Cell:
    return read_table(TABLES / f"{job.run.table}.yaml").cells[job.run.cell]


@pytest.mark.parametrize("job", CELLS)
def test_every_cell_trains_and_validates(job, tmp_path):
    arguments = [*job.arguments, *TINY_SCENES, *QUICK, f"--run.root={tmp_path}"]
    if cell_of(job).network_class is None:
        arguments += NARROW
    options = cell_options(read_table(TABLES / f"{job.run.table}.yaml"), job.run.cell, "scenes")
    if any("encoder_name=resnet" in option for option in options):
        arguments.append("--model.network.init_args.encoder_weights=null")
    main(arguments)
    assert not list(tmp_path.iterdir()), "a fast_dev_run leaves nothing behind"


@pytest.mark.parametrize("job", CELLS)
def test_every_parameter_of_every_cell_learns(job):
    """Several processes would wait forever for the gradient of one that is not used."""
    table = read_table(TABLES / f"{job.run.table}.yaml")
    settings = table.cell_settings(job.run.cell).items()
    prefix = "model.network.init_args."
    arguments = {setting.key.removeprefix(prefix): value for setting, value in settings if setting.key.startswith(prefix)}
    small = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3}
    if name := cell_of(job).network_class:
        module, _, name = name.rpartition(".")
        network = getattr(importlib.import_module(module), name)(**small)
    else:
        network = RefineNet(**arguments | small | {"width": 8, "deepest_width": 8})
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("recipe", names(RECIPES))
def test_every_recipe_trains_and_validates(recipe, tmp_path, request):
    file, runs = find_recipe(recipe), tmp_path / "runs"
    root = tmp_path / "data"
    if recipe.startswith("camvid"):
        root = request.getfixturevalue("camvid_root")
    elif recipe != "scenes":
        layout = importlib.import_module(f"helpers.layouts.{recipe}")
        layout.build(root)
        if recipe == "nyudv2":  # its crop is for images of the official size
            layout.write_labelled(root / "nyu_depth_v2_labeled.mat", 480, 640)
    extra = [*NARROW, "--data.global_batch=2", "--data.crop_size=[64, 64]"]
    extra += TINY_SCENES if recipe == "scenes" else [f"--data.root={root}"]
    # The others' weights come with installed packages.
    if "base: _published" in file.read_text():
        extra += ["--model.network.init_args.encoder_name=resnet18", "--model.network.init_args.encoder_weights=null"]
    main(["fit", "-c", recipe, *QUICK, *extra, f"--run.root={runs}"])
    assert not runs.exists()
