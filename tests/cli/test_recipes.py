"""Recipes by name, their bases, and the cell of a table that a training command resolves."""

import shutil
import subprocess
import sys

import pytest
import yaml
from helpers.repository import REPOSITORY
from helpers.running import fit, refusal

from refinenet_pl import SegmentationTask
from refinenet_pl.catalog import RECIPES, TABLES, names
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli.recipes import expand, with_bases
from refinenet_pl.errors import CatalogError


def write(path, **content):
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_recipe_comes_after_its_bases_and_names_the_run():
    files = [str(RECIPES / f"{name}.yaml") for name in ("_small", "_camvid", "camvid_half")]
    words = [word for file in files for word in ("--config", file)]
    assert expand(["fit", "-c", "camvid_half", "--x=1"]) == ["fit", "--run.recipe=camvid_half", *words, "--x=1"]
    assert expand(["fit", "--x=1", "-c=camvid_half"]) == ["fit", "--run.recipe=camvid_half", *words, "--x=1"]


def test_what_comes_later_wins(tmp_path):
    write(tmp_path / "mine.yaml", base="scenes", model={"learning_rate": 0.5, "power": 0.25})
    write(tmp_path / "again.yaml", base="mine.yaml", model={"network": {"init_args": {"path_rcus": 1}}})
    options = ["-c", str(tmp_path / "again.yaml"), "--model.power=0.75"]
    config = fit(tmp_path / "runs", *options)["config"]
    assert (config["model"]["learning_rate"], config["model"]["power"]) == (0.5, 0.75)
    assert config["model"]["network"]["init_args"]["path_rcus"] == 1
    assert config["model"]["network"]["init_args"]["decoder_init"] == "scaled"  # of the base of the base of the base
    assert config["run"]["recipe"] == "again" and "base" not in config


def test_the_name_of_a_recipe_can_be_another(tmp_path):
    assert fit(tmp_path, "--run.recipe=mine")["run"] == {"recipe": "mine", "table": "single", "cell": "default", "seed": 0}


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ({"a": {"base": "b.yaml"}, "b": {"base": "a.yaml"}}, "a.yaml: is its own base"),
        ({"a": {"base": "b.yaml"}}, "a.yaml: its base .*b.yaml is no file"),
        ({"a": {"base": "nothing"}}, "no recipe 'nothing'"),
    ],
)
def test_a_wrong_base_is_named(tmp_path, contents, words):
    for name, content in contents.items():
        write(tmp_path / f"{name}.yaml", **content)
    with pytest.raises(CatalogError, match=words):
        with_bases(tmp_path / "a.yaml")


def test_a_cell_is_resolved_by_the_training_and_options_win(tmp_path):
    named = ["--run.table=rcu_removal", "--run.cell=no_rcus"]
    network = fit(tmp_path / "a", *named)["config"]["model"]["network"]["init_args"]
    assert (network["path_rcus"], network["output_rcus"], network["head_rcus"]) == (0, 0, 0)
    network = fit(tmp_path / "b", *named, "--model.network.init_args.head_rcus=1")["config"]["model"]["network"]["init_args"]
    assert (network["path_rcus"], network["output_rcus"], network["head_rcus"]) == (0, 0, 1)


class Doubled(SegmentationTask):
    """Counts the loss twice or more, for a test."""

    def __init__(self, *args, times: float = 2.0, **kwargs):
        self.times = times
        super().__init__(*args, **kwargs)

    def configure_losses(self) -> None:
        super().configure_losses()
        plain, times = self.criterion.forward, self.times

        def weighted(log_probabilities, label):
            total, weight = plain(log_probabilities, label)
            return times * total, weight

        self.criterion.forward = weighted


def test_a_task_of_ones_own_trains_resolves_its_arguments_and_is_loaded_again(tmp_path):
    write(tmp_path / "mine.yaml", base="scenes", task="test_recipes.Doubled", model={"times": 3.0})
    plain = fit(tmp_path / "plain")["evaluations"]["val"]
    record = fit(tmp_path / "own", "-c", str(tmp_path / "mine.yaml"))
    assert record["evaluations"]["val"]["loss"] == pytest.approx(3 * plain["loss"], rel=1e-6)
    assert record["evaluations"]["val"]["confusion"] == plain["confusion"]
    assert (record["config"]["task"], record["config"]["model"]["times"]) == ("test_recipes.Doubled", 3.0)
    task, _ = load_for_prediction(next((tmp_path / "own").rglob("last.ckpt")))
    assert type(task).__name__ == "Doubled" and task.times == 3.0


@pytest.mark.parametrize("name", ["nothing.Task", "torch.nn.Linear", "plain"])
def test_another_class_is_no_task(capsys, name):
    assert f"task {name!r}: " in refusal(capsys, "fit", f"--task={name}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-c", "nothing"], "no recipe 'nothing'"),
        (["--run.table=cascade"], "--run.table is cascade; name one of its rows with --run.cell: cascade_1, "),
        (["--run.table=cascade", "--run.cell=x"], "cascade has no cell x; it has cascade_1"),
        (["--run.table=nothing.yaml", "--run.cell=x"], "no table 'nothing.yaml'"),
    ],
)
def test_what_is_not_there_is_named(capsys, options, words):
    assert words in refusal(capsys, "fit", *options)


def test_a_table_name_of_ones_own_is_only_a_name(tmp_path):
    record = fit(tmp_path, "--run.table=mine", "--run.cell=first")
    assert record["run"] == {"recipe": "scenes", "table": "mine", "cell": "first", "seed": 0}


def test_class_weights_of_the_dataset_are_resolved(tmp_path, camvid_root):
    options = [
        "--data.dataset=camvid",
        f"--data.root={camvid_root}",
        "--data.dataset_options={}",
        "--trainer.limit_train_batches=1",
    ]
    config = fit(tmp_path, *options, "--trainer.limit_val_batches=1", "--model.class_weights=dataset")["config"]
    assert len(config["model"]["class_weights"]) == 11 and config["model"]["class_weights"][0] == 0.51


def test_an_installation_has_recipes_tables_and_the_command(tmp_path):
    """From a wheel, outside the checkout, with the dependencies of this environment."""
    source, site = tmp_path / "source", tmp_path / "site"
    for folder in "refinenet_pl", "experiments/recipes", "experiments/tables":
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in "setup.cfg", "pyproject.toml", "README.md", "LICENSE":
        shutil.copy(REPOSITORY / file, source)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
    ]
    done = subprocess.run([*pip, "--target", site, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    code = "from refinenet_pl.catalog import *; print(*names(RECIPES)); print(*names(TABLES)); print(RECIPES)"
    options = {"cwd": tmp_path, "env": {"PYTHONPATH": str(site), "PATH": "/usr/bin"}}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)
    recipes, tables, folder = shown.stdout.splitlines()
    assert recipes.split() == names(RECIPES) and tables.split() == names(TABLES), shown.stderr
    assert folder == str(site / "refinenet_pl/recipes")
    package = REPOSITORY / "refinenet_pl"
    for file in [*package.rglob("*.py"), *package.glob("report/page.*"), package / "report/claims.md.jinja"]:
        assert (site / file.relative_to(REPOSITORY)).is_file(), f"{file} is not in the package"
    listed = subprocess.run([site / "bin/refinenet", "ablate", "list"], capture_output=True, text=True, **options)
    assert "chained_pooling" in listed.stdout, listed.stderr
