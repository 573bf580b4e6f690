"""The key `images` of classes and values files, and the mapping of pixel values."""

import numpy as np
import pytest
import torch
from helpers.layouts import channels
from helpers.layouts.channels import BANDS, GRAY, pixels

from refinenet_pl.datasets.folder import Folder
from refinenet_pl.datasets.image_format import ImageFormat
from refinenet_pl.datasets.value_folder import ValueFolder
from refinenet_pl.errors import DataError

WRONG = {
    "images: 3": "must have the keys channels and range",
    "images: {channels: 1}": "has no range",
    "images: {channels: 1, range: [0, 1], bits: 16}": "unknown key bits; the keys are channels, range",
    "images: {channels: 0, range: [0, 1]}": "channels is 0",
    "images: {channels: true, range: [0, 1]}": "channels is True",
    "images: {channels: 1, range: 255}": "range must be [min, max], not 255",
    "images: {channels: 1, range: [1, 0]}": "range is [1, 0]",
    "images: {channels: 1, range: [0, .inf]}": "range is [0, inf]",
    "images: {channels: 1, range: [a, b]}": "range is ['a', 'b']",
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_keys_are_refused(tmp_path, line):
    for name, head, read in ("classes", "names: [a, b]", Folder), ("values", "kind: depth", ValueFolder):
        (tmp_path / f"{name}.yaml").write_text(f"{head}\n{line}\n")
        with pytest.raises(DataError) as refused:
            read.image_format_of(tmp_path)
        assert f"{name}.yaml: images: " in str(refused.value) and WRONG[line] in str(refused.value)


@pytest.mark.parametrize(("format", "extension"), [(GRAY, ".png"), (BANDS, ".npy")], ids=["gray", "bands"])
def test_samples_of_folders(tmp_path, format, extension):
    found = [
        Folder(channels.build(tmp_path / "classes", format, extension), "train"),
        ValueFolder(channels.build_values(tmp_path / "values", format, extension), "train"),
    ]
    for dataset in found:
        assert dataset.image_format == dataset.image_format_of(dataset.root) == format
        image = dataset[0]["image"]
        assert image.dtype == torch.float32 and image.shape == (format.channels, *channels.SIZE)
        low, high = format.range
        stored = pixels("a", format).reshape(*channels.SIZE, -1).astype(float)
        assert np.abs(image.permute(1, 2, 0).numpy() - (stored - low) * 255 / (high - low)).max() < 1e-4


def test_lists_name_numpy_files(tmp_path):
    root = channels.build(tmp_path, BANDS, ".npy")
    for kind in "images", "masks":
        for file in (root / kind / "val").iterdir():
            file.rename(root / kind / file.name)
        (root / kind / "val").rmdir()
    (root / "val.txt").write_text("e.npy\nf\n")
    assert len(Folder(root, "val")) == 2


def test_mapping_is_exact_for_integers_and_inverted():
    format = ImageFormat(1, (0, 255))
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert np.array_equal(format.convert(stored, "x"), stored) and format.convert(stored, "x").dtype == np.float32
    assert BANDS.stored(float(BANDS.convert(np.full((1, 1, 5), 0.5), "x")[0, 0, 0])) == pytest.approx(0.5)
    assert ImageFormat.from_dict(BANDS.to_dict()) == BANDS and str(GRAY) == "1 channel, pixel values 0 to 65535"
    far = np.full((1, 1, 1), 1e9 + 0.5)  # float32 would round these values to multiples of 64
    assert ImageFormat(1, (1e9, 1e9 + 1)).convert(far, "x").item() == pytest.approx(127.5)
