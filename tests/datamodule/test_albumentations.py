"""Transforms of albumentations."""

import sys

import pytest
import torch
from helpers.running import fit, refusal
from torchvision import tv_tensors

from refinenet_pl import SegmentationDataModule
from refinenet_pl.datamodule.albumentations import Albumentations
from refinenet_pl.datamodule.samplers import TrainingSampler
from refinenet_pl.datamodule.transforms import AugmentedDataset, SampleKey
from refinenet_pl.datasets.camvid import CamVid
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.errors import MissingPackageError

VOID = 11
PATH = "refinenet_pl.datamodule.albumentations.Albumentations"


@pytest.fixture
def installed():
    pytest.importorskip("albumentations", reason="albumentations is optional: pip install albumentations")


def sample(largest: int = 5) -> dict:
    image = torch.randint(256, (3, 20, 30), dtype=torch.uint8)
    mask = torch.randint(largest, (20, 30))
    mask[:2] = VOID
    return {"image": tv_tensors.Image(image), "mask": tv_tensors.Mask(mask), "name": "x"}


def test_missing_package_is_named(monkeypatch, tmp_path, in_repository, capsys):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(MissingPackageError, match="pip install albumentations"):
        Albumentations([{"HorizontalFlip": {}}])
    transform = f'{{"class_path": "{PATH}", "init_args": {{"transforms": [{{"HorizontalFlip": {{}}}}]}}}}'
    assert "pip install albumentations" in refusal(capsys, "fit", f"--data.transforms=[{transform}]", f"--run.root={tmp_path}")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("largest", [5, 300, 40_000])
def test_flip_is_exact(largest):
    before = sample(largest)
    if largest > 2**15:
        with pytest.raises(ValueError, match="cannot transform labels from"):
            Albumentations([{"HorizontalFlip": {"p": 1.0}}], VOID)(before)
        return
    after = Albumentations([{"HorizontalFlip": {"p": 1.0}}], VOID)(before)
    for name, kind in ("image", tv_tensors.Image), ("mask", tv_tensors.Mask):
        assert torch.equal(after[name], before[name].flip(-1))
        assert isinstance(after[name], kind) and after[name].dtype == before[name].dtype
    assert after["name"] == "x"


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_targets_keep_their_values_and_get_unknown_ones_from_outside(channels):
    target = torch.rand(channels, 20, 30)
    target[:, 5, 5] = torch.nan
    before = {"image": sample()["image"], "target": tv_tensors.Mask(target)}
    shift = {"Affine": {"translate_px": {"x": [4, 4], "y": [0, 0]}, "p": 1.0}}
    after = Albumentations([shift])(before)["target"]
    assert after.shape == target.shape and after.dtype == torch.float32 and isinstance(after, tv_tensors.Mask)
    assert bool(after[..., :4].isnan().all())
    assert torch.equal(after[..., 4:].nan_to_num(-1), target[..., :-4].nan_to_num(-1))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("fill", [0, 255])
def test_pixels_from_outside_are_void(fill):
    before = sample()
    shift = {"Affine": {"translate_px": {"x": [0, 0], "y": [3, 3]}, "fill_mask": fill, "p": 1.0}}
    after = Albumentations([shift], VOID)(before)["mask"]
    assert bool((after[:3] == VOID).all()) and torch.equal(after[3:], before["mask"][:-3])


@pytest.mark.usefixtures("installed")
def test_transforms_of_a_list_are_independent():
    nested = {"OneOf": {"transforms": [{"VerticalFlip": {"p": 1.0}}, {"NoOp": {"p": 1.0}}], "p": 1.0}}
    transform, before = Albumentations([{"HorizontalFlip": {"p": 0.5}}, nested], VOID), sample()
    seen = {transform(before)["mask"].numpy().tobytes() for _ in range(60)}
    assert seen == {before["mask"].flip(axes).numpy().tobytes() for axes in ((), (-1,), (-2,), (-1, -2))}


@pytest.mark.usefixtures("installed")
def test_random_numbers_follow_from_the_key():
    transforms = [{"RandomRotate90": {}}, {"GaussNoise": {"p": 1.0}}, {"CoarseDropout": {"p": 0.5}}]

    def samples(num_workers: int) -> list[torch.Tensor]:
        dataset = AugmentedDataset(Scenes(size=64, samples=6), Albumentations(transforms), seed=1)
        sampler = TrainingSampler(dataset, 2, 1, 0, 0)
        loader = torch.utils.data.DataLoader(dataset, 2, sampler=sampler, num_workers=num_workers)
        return [batch["image"] for batch in loader] + [dataset[SampleKey(7, 3)]["image"]]

    expected = samples(0)
    for num_workers in 0, 2:
        torch.manual_seed(9 + num_workers)
        assert all(torch.equal(one, other) for one, other in zip(expected, samples(num_workers), strict=True))
    assert len({image.numpy().tobytes() for batch in expected[:3] for image in batch}) == 6


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([{"HorizontalFlop": {}}], "no transform HorizontalFlop"),
        ([{"Compose": {"transforms": [{"array": {}}]}}], "no transform array"),
        ([{"HorizontalFlip": {"q": 1}}], "HorizontalFlip of albumentations .*'?q'?"),
        ([{"GaussNoise": {"std_range": 3}}], "GaussNoise of albumentations .*std_range"),
        ([{"HorizontalFlip": {}, "VerticalFlip": {}}], "not the name of one transform"),
    ],
)
def test_wrong_transforms_are_refused(transforms, message):
    with pytest.raises(ValueError, match=message):
        Albumentations(transforms)


@pytest.mark.usefixtures("installed")
def test_training_with_a_recipe(tmp_path, in_repository):
    recipe = tmp_path / "a.yaml"
    recipe.write_text(
        f"base: scenes\ndata:\n  transforms:\n    - class_path: {PATH}\n      init_args:\n"
        "        transforms: [{HorizontalFlip: {p: 0.5}}, {OneOf: {transforms: [{CLAHE: {}}, {Sharpen: {}}], p: 0.5}}]\n"
    )
    config = fit(tmp_path / "run", "-c", str(recipe))["config"]["data"]["transforms"][0]
    assert config["init_args"]["transforms"][0] == {"HorizontalFlip": {"p": 0.5}}


@pytest.mark.usefixtures("installed")
def test_void_is_that_of_the_dataset():
    default, given = Albumentations([{"Transpose": {}}]), Albumentations([{"Transpose": {}}], 7)
    SegmentationDataModule("camvid", transforms=[default, given])
    assert (default.ignore_index, given.ignore_index) == (CamVid.classes.ignore_index, 7) == (11, 7)
