"""Every recipe and every cell of every table runs through the real command line, so that none can rot."""

import importlib

import pytest
import torch
import yaml
from conftest import REPOSITORY

from experiments.ablation.jobs import RECIPES, Job, plan
from experiments.ablation.tables import TABLES, Cell, read_table
from refinenet_pl import RefineNet
from refinenet_pl.cli import main

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
    for job in plan(read_table(path), RECIPES / "scenes.yaml", [0], None, "runs")
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
    if any("encoder_name=resnet" in argument for argument in arguments):
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


@pytest.mark.parametrize("recipe", sorted(p.stem for p in RECIPES.glob("*.yaml")))
def test_every_recipe_trains_and_validates(recipe, tmp_path, request):
    runs, extra = tmp_path / "runs", []
    if recipe.startswith("camvid"):
        extra = [f"--data.root={request.getfixturevalue('camvid_root')}"]
    elif recipe != "scenes":
        root = tmp_path / "data"
        importlib.import_module(f"layouts.{recipe}").build(root)
        extra = [f"--data.root={root}", "--data.global_batch=2", "--data.crop_size=[64, 64]"]
    if recipe == "nyudv2":  # the border is that of the real pictures' size
        extra += ['--data.dataset_options={"crop_border": false}']
    if yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())["model"]["network"]["init_args"]["encoder_name"] == "resnet101":
        names = "encoder_name=resnet18", "encoder_weights=null", "width=8", "deepest_width=16"
        extra += [f"--model.network.init_args.{name}" for name in names]
    main(["fit", "-c", f"experiments/recipes/{recipe}.yaml", *QUICK, *extra, f"--run.root={runs}"])
    assert not runs.exists()
