"""Compressed copy of CamVid."""

import numpy as np
import pytest
from helpers.layouts import camvid as layout

from benchmarks import pack_camvid
from refinenet_pl.datasets.camvid import CamVid


@pytest.fixture
def source(tmp_path):
    layout.build(tmp_path / "camvid")
    return tmp_path / "camvid"


def test_copy_has_equal_masks_and_similar_images(source, tmp_path, capsys):
    target = tmp_path / "packed" / "camvid-jpeg"
    assert pack_camvid.main([str(source), str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    for split in layout.SPLITS:
        original, copy = CamVid(source, split), CamVid(target, split)
        assert [sample.name for sample in copy.samples] == [sample.name for sample in original.samples]
        for index in range(len(original)):
            (image, mask), (packed_image, packed_mask) = original.read(index), copy.read(index)
            assert np.array_equal(mask, packed_mask)
            assert 0 < np.abs(image.astype(int) - packed_image).mean() < 20  # 85 between two images of noise
    assert [path.name for path in target.parent.iterdir()] == ["camvid-jpeg"]


@pytest.mark.parametrize("problem", ["target exists", "no source", "damaged image"])
def test_writes_nothing_on_errors(source, tmp_path, capsys, problem):
    target = named = tmp_path / "packed"
    if problem == "target exists":
        target.mkdir()
    elif problem == "no source":
        source = named = tmp_path / "nowhere"
    else:
        named = source / "test/e.png"
        named.write_bytes(b"not an image")
    before = sorted(tmp_path.iterdir())
    assert pack_camvid.main([str(source), str(target)]) == 2
    assert f"error: {named}" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
