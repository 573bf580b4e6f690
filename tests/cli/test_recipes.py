"""Recipes with bases, and cells of tables, on the command line of the training."""

import pytest
import yaml
from helpers.running import fit

from refinenet_pl import SegmentationTask
from refinenet_pl.catalog import RECIPES
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli.recipes import expand, with_bases
from refinenet_pl.errors import CatalogError


def write(path, **content) -> str:
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.parametrize("words", [["-c", "camvid_half", "--x=1"], ["--x=1", "-c=camvid_half"]])
def test_recipe_follows_its_bases(words):
    files = [str(RECIPES / f"{name}.yaml") for name in ("_small", "_camvid", "camvid_half")]
    configs = [word for file in files for word in ("--config", file)]
    assert expand(["fit", *words]) == ["fit", "--run.recipe=camvid_half", *configs, "--x=1"]


def test_later_values_override_earlier_ones(tmp_path):
    write(tmp_path / "mine.yaml", base="scenes", model={"learning_rate": 0.5, "power": 0.25})
    again = write(tmp_path / "again.yaml", base="mine.yaml", model={"network": {"init_args": {"path_rcus": 1}}})
    config = fit(tmp_path / "runs", "-c", again, "--model.power=0.75")["config"]
    assert (config["model"]["learning_rate"], config["model"]["power"]) == (0.5, 0.75)
    network = config["model"]["network"]["init_args"]
    assert (network["path_rcus"], network["decoder_init"]) == (1, "scaled")  # of the recipe and of _small
    assert config["run"]["recipe"] == "again" and "base" not in config


@pytest.mark.parametrize(
    "base, words",
    [("b.yaml", "is its own base"), ("c.yaml", "c.yaml is not a file"), ("none", "no recipe 'none'")],
)
def test_invalid_base(tmp_path, base, words):
    write(tmp_path / "a.yaml", base=base)
    write(tmp_path / "b.yaml", base="a.yaml")
    with pytest.raises(CatalogError, match=words):
        with_bases(tmp_path / "a.yaml")


def test_options_override_the_cell(tmp_path):
    named = ["--run.table=rcu_removal", "--run.cell=no_rcus"]
    for rcus, options in (0, []), (1, ["--model.network.init_args.head_rcus=1"]):
        network = fit(tmp_path / str(rcus), *named, *options)["config"]["model"]["network"]["init_args"]
        assert (network["path_rcus"], network["output_rcus"], network["head_rcus"]) == (0, 0, rcus)


def test_names_without_files(tmp_path):
    record = fit(tmp_path, "--run.recipe=mine", "--run.table=mine", "--run.cell=first")
    assert record["run"] == {"recipe": "mine", "table": "mine", "cell": "first", "seed": 0}


class ScaledTask(SegmentationTask):
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


def test_custom_task(tmp_path):
    recipe = write(tmp_path / "mine.yaml", base="scenes", task=f"{__name__}.ScaledTask", model={"times": 3.0})
    plain = fit(tmp_path / "plain")["evaluations"]["val"]
    record = fit(tmp_path / "own", "-c", recipe)
    assert record["evaluations"]["val"]["loss"] == pytest.approx(3 * plain["loss"], rel=1e-6)
    assert record["evaluations"]["val"]["confusion"] == plain["confusion"]
    assert (record["config"]["task"], record["config"]["model"]["times"]) == (f"{__name__}.ScaledTask", 3.0)
    task, _ = load_for_prediction(next((tmp_path / "own").rglob("last.ckpt")))
    assert type(task).__name__ == "ScaledTask" and task.times == 3.0


def test_class_weights_of_the_dataset(tmp_path, camvid_root):
    options = ["--data.dataset=camvid", f"--data.root={camvid_root}", "--data.dataset_options={}"]
    options += ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1", "--model.class_weights=dataset"]
    weights = fit(tmp_path, *options)["config"]["model"]["class_weights"]
    assert len(weights) == 11 and weights[0] == 0.51
