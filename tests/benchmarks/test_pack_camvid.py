"""Compressed copy of CamVid."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import pack_camvid
from refinenet_pl.datasets.camvid import CamVid

SPLITS = {"train": 3, "val": 2, "test": 1}


@pytest.fixture
def source(tmp_path):
    root, chance = tmp_path / "camvid", np.random.default_rng(0)
    for split, number in SPLITS.items():
        lines = []
        for folder in split, f"{split}annot":
            (root / folder).mkdir(parents=True)
        for file in (f"{split}{index}.png" for index in range(number)):
            smooth = Image.fromarray(chance.integers(0, 256, (4, 5, 3), np.uint8)).resize((64, 48), Image.Resampling.BICUBIC)
            smooth.save(root / split / file)
            Image.fromarray(chance.integers(0, 12, (48, 64), np.uint8)).save(root / f"{split}annot" / file)
            lines.append(f"/SegNet/CamVid/{split}/{file} /SegNet/CamVid/{split}annot/{file}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root


def test_copy_has_equal_masks_and_similar_images(source, tmp_path, capsys):
    target = tmp_path / "packed" / "camvid-jpeg"
    assert pack_camvid.main([str(source), str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    for split in SPLITS:
        original, copy = CamVid(source, split), CamVid(target, split)
        assert [sample.name for sample in copy.samples] == [sample.name for sample in original.samples]
        for index in range(len(original)):
            (image, mask), (packed_image, packed_mask) = original.read(index), copy.read(index)
            assert np.array_equal(mask, packed_mask)
            assert 0 < np.abs(image.astype(int) - packed_image).mean() < 3
    assert [path.name for path in target.parent.iterdir()] == ["camvid-jpeg"]


@pytest.mark.parametrize("problem", ["target exists", "no source", "damaged image"])
def test_writes_nothing_on_errors(source, tmp_path, capsys, problem):
    target = named = tmp_path / "packed"
    if problem == "target exists":
        target.mkdir()
    elif problem == "no source":
        source = named = tmp_path / "nowhere"
    else:
        named = source / "test" / "test0.png"
        named.write_bytes(b"not an image")
    before = sorted(tmp_path.iterdir())
    assert pack_camvid.main([str(source), str(target)]) == 2
    assert f"error: {named}" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
