"""`refinenet data import`: its summary, the commands that it names, and its errors."""

import numpy as np
import pytest
from helpers.annotation_files import BUILDERS, change, coco, labelme, scene
from PIL import Image

from refinenet_pl.cli.main import main


def refused(*arguments: object) -> str:
    """Message of an import that fails."""
    with pytest.raises(SystemExit) as ended:
        main(["data", "import", *map(str, arguments)])
    return str(ended.value.code)


@pytest.mark.parametrize("kind", BUILDERS)
def test_import_and_check(kind, tmp_path, capsys):
    output = tmp_path / "my data"
    main(["data", "import", kind, str(BUILDERS[kind](tmp_path / "in")), str(output)])
    printed = capsys.readouterr().out
    regions = {"cvat": 20, "label_studio": 15}.get(kind, 10)
    assert f"written: {output}: 5 images (train 4, val 1), {regions} regions\nclasses: background, road, car\n" in printed
    assert f"\n  refinenet data check folder '{output}'\n  refinenet fit -c folder --data.root '{output}'\n" in printed
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", "folder", str(output), "--workers=1"])
    assert ended.value.code == 0 and "no problems found" in capsys.readouterr().out


def test_options(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HERE", str(tmp_path))
    source = coco(tmp_path / "in")
    change(source, '"iscrowd": 0', '"iscrowd": 1')
    change(source, "[[2, 4, 22, 4, 22, 14, 2, 14]]", "[[-2, 4, 22, 4, 22, 14, -2, 14], [0.6, 0.6, 0.9, 0.6, 0.9, 0.9]]")
    options = ["--split=val", "--unlabeled=void", "--order=file", "--link", "--images=$HERE/in/images"]
    main(["data", "import", "coco", "$HERE/in/annotations/instances.json", "$HERE/out", *options])
    printed = capsys.readouterr().out
    assert "note: crowd regions (iscrowd), which are void" in printed
    assert "note: regions clipped because they have points outside their image: 1\n" in printed
    assert (tmp_path / "out/images/val/b.jpg").is_symlink()
    mask = np.asarray(Image.open(tmp_path / "out/masks/val/b.png"))
    assert np.array_equal(mask, np.array([255, 0, 0])[scene()]), "the road is the last in the file, and covers the car"
    assert "out/images/val: exists" in refused("coco", source, "$HERE/out", *options)
    main(["data", "import", "coco", str(source), str(tmp_path / "out"), "--split=val", "--overwrite", "--crowd=class"])
    assert "crowd" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--classes=names.txt"], "--classes: is for yolo, labelme, label_studio only; coco defines this itself"),
        (["--split=train", "--val_share=0.5"], "--val_share: divides the images into train and val"),
        (["--images=$NOWHERE"], "the environment variable NOWHERE is not set"),
    ],
)
def test_contradictory_options(tmp_path, arguments, problem):
    assert problem in refused("coco", coco(tmp_path / "in"), tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [["voc"], ["coco", "--val_share=1"], ["coco", "--split=other"], ["coco", "--unlabeled=none"]]
)
def test_invalid_values(tmp_path, arguments):
    assert refused(arguments[0], "in", tmp_path / "out", *arguments[1:]) == "2"


def test_unwritable_output(tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be written" in refused("labelme", labelme(tmp_path / "in"), tmp_path / "file/out")
