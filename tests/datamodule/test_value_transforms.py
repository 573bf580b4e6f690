"""Augmentation of continuous values: targets keep their meaning, and unknown values stay unknown."""

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from refinenet_pl.datamodule.value_transforms import FlipValues, ScaleValues, value_transform
from refinenet_pl.datamodule.values import ValueDataModule
from refinenet_pl.datasets.scenes_values import ScenesKeypoints
from refinenet_pl.datasets.values import Values

DEPTH = Values(("depth",), "depth", "m")
NORMALS = Values(("x", "y", "z"), "normals")
HANDS = Values(("nose", "left hand", "right hand"), "heatmap", swapped=((1, 2),))
OTHER = Values(("a", "b", "c"))


def sample(target: torch.Tensor) -> dict:
    image = torch.arange(target[0].numel(), dtype=torch.uint8).view(1, *target.shape[1:]).expand(3, -1, -1)
    return {"image": tv_tensors.Image(image.contiguous()), "target": tv_tensors.Mask(target), "name": "one"}


@pytest.mark.parametrize("scale", [0.5, 2.0, 1.3])
@pytest.mark.parametrize("values", [DEPTH, NORMALS], ids=lambda values: values.kind)
def test_scaling_divides_depth_only(values, scale):
    target = torch.rand(len(values), 10, 20) + 1
    target[:, 3:6, 4:9] = torch.nan
    scaled = ScaleValues([scale], None, values)(sample(target))["target"]
    factor = scale if values.kind == "depth" else 1.0
    assert scaled.shape[1:] == (round(10 * scale), round(20 * scale)) and scaled.isnan().any()
    # Every value is one of the original ones, not a mixture.
    known = scaled[~scaled.isnan()] * factor
    assert torch.isclose(known[:, None], target[~target.isnan()][None], atol=1e-6).any(1).all()


def test_scaled_labels_stay_labels():
    target = (torch.rand(2, 10, 20) < 0.5).float()
    target[0, 3:6] = torch.nan
    scaled = ScaleValues([1.3], None, Values(("a", "b"), "labels", range=(0, 1)))(sample(target))["target"]
    assert scaled.shape == (2, 13, 26) and {0.0, 1.0, 7.0} == set(scaled.nan_to_num(7).unique().tolist())


def test_scaled_depth_is_of_the_same_pixels():
    target = torch.arange(200.0).view(1, 10, 20)
    result = ScaleValues([2.0], None, DEPTH)(sample(target))
    assert torch.equal(result["target"].as_subclass(torch.Tensor), target.repeat_interleave(2, 1).repeat_interleave(2, 2) / 2)


@pytest.mark.parametrize(
    "values, channels, signs",
    [(DEPTH, [0], [1]), (NORMALS, [0, 1, 2], [-1, 1, 1]), (HANDS, [0, 2, 1], [1, 1, 1]), (OTHER, [0, 1, 2], [1, 1, 1])],
    ids=lambda case: getattr(case, "kind", None),
)
def test_flip(values, channels, signs):
    target = torch.rand(len(values), 4, 6)
    target[0, 1, 2] = torch.nan
    flip = FlipValues(values)
    flip.p = 1.0
    flipped = flip(sample(target))["target"]
    assert isinstance(flipped, tv_tensors.Mask)
    expected = target.flip(-1)[channels] * torch.tensor(signs).view(-1, 1, 1)
    assert torch.equal(flipped.nan_to_num(7), expected.nan_to_num(7))
    twice = values.flip(values.flip(target))
    assert torch.equal(twice.nan_to_num(7), target.nan_to_num(7))


def test_padding_is_unknown():
    transform = value_transform((16, 16), [1.0], False, 0.5, DEPTH)
    result = transform(sample(torch.ones(1, 8, 8)))
    assert result["image"].shape == (3, 16, 16) and result["target"].isnan().sum() == 16 * 16 - 8 * 8


def test_flipped_keypoints_are_those_of_the_flipped_scene():
    """The left flag of a flipped image is the one that was on the right."""
    image, target = ScenesKeypoints(split="val", samples=4).read(0)
    flipped = ScenesKeypoints.values.flip(torch.from_numpy(target).permute(2, 0, 1).flip(-1))
    columns = [int(np.argmax(channel.max(0))) for channel in flipped.numpy()]
    assert columns[1] < columns[2] and columns[1] == 127 - int(np.argmax(target[..., 2].max(0)))


@pytest.mark.parametrize("name", ["scenes_depth", "scenes_keypoints", "scenes_labels"])
def test_batches(name):
    data = ValueDataModule(name, global_batch=4, crop_size=(48, 64), dataset_options={"size": 64, "samples": 8}, num_workers=0)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["target"].shape == (4, len(data.values), 48, 64) and batch["target"].dtype == torch.float32
    assert batch["image"].dtype == torch.uint8 and len(batch["seeds"]) == 4
    whole = next(iter(data.val_dataloader()))
    assert whole["target"].shape == (1, len(data.values), 64, 64)


@pytest.mark.parametrize(
    "arguments",
    [
        {"names": ()}, {"names": ("a", "a")}, {"names": ("a", "b"), "kind": "depth"}, {"names": ("a",), "kind": "normals"},
        {"names": ("a",), "kind": "unknown"}, {"names": ("a",), "range": (2, 1)}, {"names": ("a",), "swapped": ((0, 1),)},
    ],
)  # fmt: skip
def test_contradicting_values_are_refused(arguments):
    with pytest.raises(ValueError, match="names|kind|range|swapped"):
        Values(**arguments)


def test_values_as_plain_data():
    values = Values(("left", "right"), "heatmap", "px", (0.0, 1.0), ((0, 1),))
    assert Values.from_dict(values.to_dict()) == values
    target = np.array([[[0.5, np.nan], [2.0, np.inf]]], np.float32)
    assert values.outside(target).tolist() == [[[False, False], [True, True]]]
