"""`refinenet data` on datasets of continuous values."""

import numpy as np
import pytest
from helpers.layouts.files import write_image, write_photo
from PIL import Image

from refinenet_pl.cli.main import main
from refinenet_pl.datasets.check import check_split
from refinenet_pl.datasets.registry import VALUE_DATASETS
from refinenet_pl.datasets.value_folder import ValueFolder


@pytest.fixture
def root(tmp_path):
    """Depths from 1 to 2 m, a quarter of them unknown, in 20 images."""
    depths = np.linspace(1000, 2000, 160).reshape(10, 16).astype(np.uint16)
    depths[:, :4] = 0
    for split, number in ("train", 20), ("val", 2):
        for index in range(number):
            write_photo(tmp_path / "own/images" / split / f"{split}{index}.jpg", (10, 16))
            write_image(tmp_path / "own/targets" / split / f"{split}{index}.png", depths)
    (tmp_path / "own/values.yaml").write_text("kind: depth\nunit: m\ndivisor: 1000\ninvalid: 0\nrange: [0.5, 5]\n")
    return tmp_path / "own"


def check(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", *map(str, arguments)])
    return ended.value.code


def test_list(capsys):
    main(["data", "list"])
    output = capsys.readouterr().out
    assert all(f"| {name} " in output for name in VALUE_DATASETS)


def test_check(root, capsys):
    assert check("value_folder", root, "--splits", "train", "val") == 0
    output = capsys.readouterr().out
    assert "train: 20 images" in output and "unknown: 25.00% of all pixels" in output and "no problems found" in output
    assert "depth: 1.025 to 2 m" in output and "50 % below 1." in output and "█" in output


def test_bad_targets_are_listed(root, capsys):
    wrong = root / "targets/train/train7.png"  # not among those that are checked when the split is opened
    dataset = ValueFolder(root, "train")
    pixels = np.array(Image.open(wrong))
    pixels[0, 5] = 60000
    Image.fromarray(pixels).save(wrong)
    contents = check_split(dataset)
    assert len(contents.faults) == 1 and "train7.png: 1 values" in contents.faults[0]
    assert check("value_folder", root, "--splits", "train") == 1
    assert "train7.png" in capsys.readouterr().out


def test_result_does_not_depend_on_the_number_of_processes(root):
    one, two = (check_split(ValueFolder(root, "train"), workers) for workers in (1, 2))
    assert one.digests == two.digests and (one.counts == two.counts).all() and one.counts.tolist() == [20 * 120]
    assert all(np.array_equal(a, b) for a, b in zip(one.values, two.values, strict=True))


def test_shares_of_labels(tmp_path, capsys):
    for index in range(4):
        write_photo(tmp_path / f"images/train/{index}.jpg", (10, 16))
        for name, value in ("road", 1), ("wet", 0 if index else 1):
            mask = np.zeros((10, 16), np.uint8)
            mask[:5] = 255 * value
            mask[9] = 9
            write_image(tmp_path / f"targets/train/{name}/{index}.png", mask)
    (tmp_path / "values.yaml").write_text("kind: labels\nnames: [road, wet]\ninvalid: 9\n")
    assert check("value_folder", tmp_path, "--splits", "train") == 0
    output = capsys.readouterr().out
    unknown = "unknown: 10.00% of all pixels"
    assert f"  road: {5 / 9:.3%} of known pixels, 0 of 4 images without it; {unknown}\n" in output
    assert f"  wet: {5 / 36:.3%} of known pixels, 3 of 4 images without it; {unknown}\n" in output
    one, two = (check_split(ValueFolder(tmp_path, "train"), workers) for workers in (1, 2))
    assert one.positive.tolist() == two.positive.tolist() == [[80, 80], *[[80, 0]] * 3]


def test_wrong_unit_is_a_problem(root, capsys):
    (root / "values.yaml").write_text("kind: depth\nunit: m\ninvalid: 0\n")
    assert check("value_folder", root, "--splits", "train") == 1
    assert "divisor: 1000" in capsys.readouterr().out


def test_show(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    main(["data", "show", "value_folder", str(root), "--samples", "2"])
    with Image.open("value_folder_train.png") as image:
        assert image.width > 800
