"""A small copy of CamVid: the same samples and masks, pictures nearly the same."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import pack_camvid
from refinenet_pl.datasets.camvid import CamVid

SPLITS = {"train": 3, "val": 2, "test": 1}


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "camvid"
    draw = np.random.default_rng(0)
    for split, number in SPLITS.items():
        lines = []
        for folder in split, f"{split}annot":
            (root / folder).mkdir(parents=True)
        for index in range(number):
            smooth = Image.fromarray(draw.integers(0, 256, (4, 5, 3), np.uint8)).resize((64, 48), Image.Resampling.BICUBIC)
            smooth.save(root / split / f"{split}{index}.png")
            mask = draw.integers(0, 12, (48, 64), np.uint8)
            Image.fromarray(mask).save(root / f"{split}annot" / f"{split}{index}.png")
            lines.append(f"/SegNet/CamVid/{split}/{split}{index}.png /SegNet/CamVid/{split}annot/{split}{index}.png\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root


def test_the_copy_is_the_same_data_set_with_nearly_the_same_pictures(source, tmp_path, capsys):
    target = tmp_path / "packed" / "camvid-jpeg"
    assert pack_camvid.main([str(source), str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    for split, number in SPLITS.items():
        original, copy = CamVid(source, split), CamVid(target, split)
        assert len(copy) == number and [s.name for s in copy.samples] == [s.name for s in original.samples]
        for index in range(number):
            (picture, mask), (again, same) = original.read(index), copy.read(index)
            assert np.array_equal(mask, same)
            assert 0 < np.abs(picture.astype(int) - again).mean() < 3
    assert [path.name for path in target.parent.iterdir()] == ["camvid-jpeg"], "nothing unfinished is left"


@pytest.mark.parametrize("spoil", ["target exists", "no source", "a picture is damaged"])
def test_nothing_is_written_where_it_cannot_be_whole(source, tmp_path, capsys, spoil):
    target = tmp_path / "packed"
    if spoil == "target exists":
        target.mkdir()
    elif spoil == "no source":
        source = tmp_path / "nowhere"
    else:
        (source / "test" / "test0.png").write_bytes(b"not a picture")
    before = sorted(tmp_path.iterdir())
    assert pack_camvid.main([str(source), str(target)]) == 2
    named = {"target exists": target, "no source": source, "a picture is damaged": source / "test" / "test0.png"}[spoil]
    assert f"error: {named}" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
