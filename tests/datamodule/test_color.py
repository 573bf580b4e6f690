"""Augmentation of images that are not 8-bit RGB."""

import pytest
import torch
from torchvision import tv_tensors

from refinenet_pl.datamodule.color import ColorJitter, refuse_color_jitter
from refinenet_pl.datamodule.transforms import GRAY, CheckSample, training_transform
from refinenet_pl.datamodule.value_transforms import value_transform
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import DataError

BANDS = ImageFormat(5, (0, 1))


def test_color_jitter_of_floating_point_images():
    image = torch.randint(0, 256, (3, 8, 9), dtype=torch.uint8)
    torch.manual_seed(1)
    bytes_ = ColorJitter(0.3)(tv_tensors.Image(image))
    torch.manual_seed(1)
    floats = ColorJitter(0.3)(tv_tensors.Image(image.float()))
    assert floats.dtype == torch.float32 and not torch.equal(bytes_, image)
    assert (floats - bytes_).abs().max() < 5  # bytes are rounded after each of the three changes
    with pytest.raises(ValueError, match=r"5 channels.*--data.color_jitter 0"):
        refuse_color_jitter(0.1, BANDS)
    refuse_color_jitter(0.1, ImageFormat(3, (0, 65535)))


@pytest.mark.parametrize("values", [None, Values(("x",))])
def test_scale_crop_and_flip_of_five_channels(values):
    image = torch.arange(5.0).view(5, 1, 1) * torch.ones(6, 8) * 10
    arguments = (12, 10), (1.0,), True, 0.0
    transform = training_transform(*arguments, 255) if values is None else value_transform(*arguments, values)
    label = torch.zeros(6, 8, dtype=torch.long) if values is None else torch.zeros(1, 6, 8)
    sample = transform({"image": tv_tensors.Image(image), "mask": tv_tensors.Mask(label)})
    padding = (sample["image"] == GRAY).all(0)
    assert sample["image"].shape == (5, 12, 10) and padding.sum() == 12 * 10 - 6 * 8
    assert torch.equal(sample["image"][:, ~padding], (torch.arange(5.0) * 10)[:, None].expand(5, 48))


def test_check_of_samples():
    check = CheckSample((4, 4), BANDS)
    sample = {"image": torch.zeros(5, 4, 4)}
    assert check(sample) is sample
    for image, words in (torch.zeros(5, 4, 4, dtype=torch.uint8), "torch.float32"), (torch.zeros(4, 4, 4), "4 channels"):
        with pytest.raises(DataError, match=words):
            check({"image": image})
