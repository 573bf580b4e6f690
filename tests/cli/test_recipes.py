"""Recipes with bases, and cells of tables, on the command line of the training."""

import numpy as np
import pytest
import torch
import yaml
from helpers.running import fit, refusal
from torchvision import tv_tensors

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


class HalfLoss(torch.nn.Module):
    """A user's loss, with a buffer."""

    def __init__(self, factor: float = 0.5):
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, logits, label):
        return self.factor * torch.nn.functional.cross_entropy(logits, label, ignore_index=255, label_smoothing=0.5)


LOSSES = {
    "name": "dice",
    "weights": {"cross_entropy": 1.0, "lovasz": 0.5},
    "options": {
        "class_path": "refinenet_pl.tasks.losses.pixel_losses.Focal",
        "init_args": {"ignore_index": 255, "gamma": 1.0},
    },
    "smp": {
        "class_path": "segmentation_models_pytorch.losses.DiceLoss",
        "init_args": {"mode": "multiclass", "ignore_index": 255},
    },
    "own": {"class_path": f"{__name__}.HalfLoss", "init_args": {"factor": 0.25}},
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_loss_of_a_recipe(tmp_path, loss):
    recipe = write(tmp_path / "mine.yaml", base="scenes", model={"loss": loss})
    record = fit(tmp_path / "runs", "-c", recipe)
    found = record["config"]["model"]["loss"]
    assert (
        found == loss if not isinstance(loss, dict) or "class_path" not in loss else found["class_path"] == loss["class_path"]
    )
    plain = fit(tmp_path / "plain")["evaluations"]["val"]
    assert record["evaluations"]["val"]["confusion"] != plain["confusion"] and record["evaluations"]["val"]["loss"] > 0
    task, _ = load_for_prediction(next((tmp_path / "runs").rglob("last.ckpt")))
    assert task.network.training is False


class HalfError(torch.nn.Module):
    """A user's loss of values, with a buffer."""

    def __init__(self, factor: float = 0.5):
        super().__init__()
        self.register_buffer("factor", torch.tensor(factor))

    def forward(self, values, target):
        return self.factor * (values - target).abs().mean()


@pytest.mark.parametrize(
    "loss, base",
    [
        ({"class_path": f"{__name__}.HalfError", "init_args": {"factor": 0.25}}, "scenes_depth"),
        ({"class_path": "torch.nn.HuberLoss", "init_args": {"delta": 2.0}}, "scenes_depth"),
        (
            {
                "class_path": "refinenet_pl.tasks.losses.labels.BinaryCrossEntropy",
                "init_args": {"positive_weights": [1.0, 3.0]},
            },
            "scenes_labels",
        ),
    ],
    ids=["own", "torch", "options"],
)
def test_loss_of_values_of_a_recipe(tmp_path, loss, base):
    recipe = write(tmp_path / "mine.yaml", base=base, model={"loss": loss})
    record = fit(tmp_path / "runs", "-c", recipe)
    assert record["config"]["model"]["loss"]["class_path"] == loss["class_path"]
    assert record["config"]["model"]["loss"]["init_args"].items() >= loss["init_args"].items()
    assert record["evaluations"]["val"]["loss"] > 0
    task, _ = load_for_prediction(next((tmp_path / "runs").rglob("last.ckpt")))
    assert task.network.training is False


def test_unknown_loss(tmp_path, capsys):
    assert "loss is 'dicee'; choose from cross_entropy, focal" in refusal(
        capsys, "fit", "--model.loss=dicee", f"--run.root={tmp_path}"
    )


def test_optimizer_and_schedule_of_a_recipe(tmp_path):
    model = {
        "optimizer": {"class_path": "torch.optim.NAdam", "init_args": {"betas": [0.8, 0.99]}},
        "scheduler": {"class_path": "torch.optim.lr_scheduler.CosineAnnealingLR", "init_args": {"T_max": 3}},
        "decay_all": False,
        "warmup_steps": 1,
    }
    record = fit(tmp_path, "-c", write(tmp_path / "mine.yaml", base="scenes", model=model))
    assert record["config"]["model"]["optimizer"]["class_path"] == "torch.optim.NAdam"
    checkpoint = torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    assert [group["name"] for group in groups] == ["decoder", "decoder, no decay"] and groups[0]["betas"] == (0.8, 0.99)
    assert [group["lr"] for group in groups] == pytest.approx([0, 0], abs=1e-9), "the schedule ends after three steps"
    assert load_for_prediction(next(tmp_path.rglob("last.ckpt")))[0].training is False


class NumpyNoise(torch.nn.Module):
    """A user's transform, with random numbers of NumPy."""

    seen: list = []

    def forward(self, sample):
        noise = torch.from_numpy(np.random.randint(0, 9, sample["image"].shape, np.uint8))
        self.seen.append(int(noise.sum()))
        return sample | {"image": tv_tensors.wrap(sample["image"] // 2 + noise, like=sample["image"])}


def test_transforms_of_a_recipe(tmp_path, capsys):
    blur = {"class_path": "torchvision.transforms.v2.GaussianBlur", "init_args": {"kernel_size": 3}}
    recipe = write(tmp_path / "a.yaml", base="scenes", data={"transforms": [blur, {"class_path": f"{__name__}.NumpyNoise"}]})
    seen = []
    for name in "one", "two":
        NumpyNoise.seen.clear()
        record = fit(tmp_path / name, "-c", recipe)
        seen.append(NumpyNoise.seen.copy())
    assert seen[0] == seen[1] and len(set(seen[0])) == len(seen[0]) == 6, "sampled from seed, epoch and index"
    assert [entry["class_path"].rsplit(".")[-1] for entry in record["config"]["data"]["transforms"]] == [
        "GaussianBlur",
        "NumpyNoise",
    ]
    for wrong, named in ("v2.Resize", "instead of the crop's 32x32"), ("v2.ToDtype", "instead of torch.uint8"):
        arguments = {"size": [8, 8]} if "Resize" in wrong else {"dtype": "torch.float32"}
        entry = {"class_path": f"torchvision.transforms.{wrong}", "init_args": arguments}
        recipe = write(tmp_path / "b.yaml", base="scenes", data={"transforms": [entry]})
        assert named in refusal(capsys, "fit", "-c", recipe, f"--run.root={tmp_path / wrong}")
