"""Pictures and masks of one's own: what is read, and which mistakes are told before a network learns from them."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.layouts import folder as layout
from PIL import Image

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datasets.classes import VOC_PALETTE
from refinenet_pl.datasets.folder import Folder
from refinenet_pl.errors import DataError

FORMS = {"folders": layout.build, "lists": layout.build_flat}
WITH_COLORS = {"masks": "colors", "void": [[255, 255, 255]]}


@pytest.fixture
def root(tmp_path) -> Path:
    layout.build(tmp_path)
    return tmp_path


@pytest.fixture
def flat(tmp_path) -> Path:
    layout.build_flat(tmp_path)
    return tmp_path


def refusal(root: Path, split: str = "train") -> str:
    """What is said when the split is opened."""
    with pytest.raises(DataError) as refused:
        Folder(root, split)
    return str(refused.value)


def write_split(root: Path, masks: list, split: str = "train") -> None:
    """Put these masks, arrays or Pillow pictures, called 000, 001, ..., in place of the split's samples."""
    for kind in "images", "masks":
        shutil.rmtree(root / kind / split)
        (root / kind / split).mkdir()
    for index, mask in enumerate(masks):
        mask = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        mask.save(root / "masks" / split / f"{index:03d}.png")
        Image.new("RGB", mask.size).save(root / "images" / split / f"{index:03d}.png")


def constant(*values: int) -> np.ndarray:
    """A mask of one row for each value."""
    return np.repeat(np.array(values, np.uint8)[:, None], 6, axis=1)


def with_palette(ids: np.ndarray, palette: list) -> Image.Image:
    mask = Image.fromarray(ids, mode="P")
    mask.putpalette([part for colour in palette for part in colour])
    return mask


def painted(ids: np.ndarray) -> np.ndarray:
    """The layout's masks in colours, white for void."""
    table = np.full((256, 3), 255, np.uint8)
    table[:4] = layout.COLORS
    return table[ids]


# What is read


@pytest.mark.parametrize("build", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("split", layout.SAMPLES)
def test_samples_come_in_order_with_exact_masks(tmp_path, build, split):
    build(tmp_path)
    dataset = Folder(tmp_path, split)
    assert len(dataset) == len(layout.SAMPLES[split])
    for index, (stem, (*_, ending, _)) in enumerate(layout.SAMPLES[split].items()):
        image, mask = dataset.read(index)
        assert dataset.name(index) == stem.replace("/", "_")
        assert mask.dtype == np.uint8 and np.array_equal(mask, layout.mask_of(split, stem))
        difference = np.abs(image.astype(int) - layout.picture_of(split, stem))
        assert image.dtype == np.uint8 and difference.mean() <= (0 if ending in (".png", ".bmp") else 12)


def test_order_is_that_of_the_list(flat):
    (flat / "train.txt").write_text("town/b c\n\n  a  \n")
    dataset = Folder(flat, "train")
    assert [dataset.name(index) for index in range(len(dataset))] == ["town_b c", "a"]


def test_classes_are_those_of_the_file(root):
    classes = Folder.classes_of(root)
    assert classes == Folder(root, "val").classes
    assert (classes.names, classes.palette, classes.ignore_index) == (layout.NAMES, layout.COLORS, 255)


def test_colours_are_those_of_voc_where_the_file_gives_none(root):
    layout.write_classes(root, colors=None)
    assert Folder.classes_of(str(root)).palette == VOC_PALETTE[:4]
    layout.write_classes(root, names=[f"class {n}" for n in range(254)], colors=None)
    assert Folder.classes_of(root).palette == VOC_PALETTE[:254]


def test_values_and_void_of_the_file(root):
    layout.write_classes(root, values=[30, 10, 20, 65535], void=[0, 7])
    stored = np.array([[30, 10, 20, 65535, 0, 7]], np.uint16)
    write_split(root, [stored])
    assert Folder(root, "train").read(0)[1].tolist() == [[0, 1, 2, 3, 255, 255]]


def test_a_split_without_void(root):
    layout.write_classes(root, void=[], values=[0, 1, 2, 255])
    write_split(root, [constant(0, 255, 2)])
    assert Folder(root, "train").read(0)[1][:, 0].tolist() == [0, 3, 2]


@pytest.mark.parametrize("save", ["RGB", "RGBA", "P"])
def test_masks_by_colour(root, save):
    layout.write_classes(root, **WITH_COLORS)
    ids = layout.mask_of("train", "a")
    mask = Image.fromarray(painted(ids))
    # Pillow sorts an adaptive palette as it likes: its values are not class ids.
    write_split(root, [mask.quantize(5) if save == "P" else mask.convert(save)])
    assert np.array_equal(Folder(root, "train").read(0)[1], ids)


def test_colours_that_differ_in_the_order_of_their_parts(root):
    colours = [[9, 3, 0], [3, 9, 0], [0, 3, 9], [0, 9, 3]]
    layout.write_classes(root, masks="colors", colors=colours, void=[[9, 0, 3], [3, 0, 9]])
    write_split(root, [np.array([[*colours, [9, 0, 3], [3, 0, 9]]], np.uint8)])
    assert Folder(root, "train").read(0)[1].tolist() == [[0, 1, 2, 3, 255, 255]]


def test_masks_by_colour_have_no_void_unless_it_is_given(root):
    layout.write_classes(root, masks="colors")
    write_split(root, [painted(constant(0, 1, 2, 3))])
    assert Folder(root, "train").read(0)[1][:, 0].tolist() == [0, 1, 2, 3]


def test_a_split_of_a_list_need_not_name_every_file(flat):
    (flat / "val.txt").write_text("e\n")
    (flat / "images/more.png").touch()
    (flat / "masks/others.png").touch()
    assert len(Folder(flat, "val")) == 1


def test_files_that_are_no_pictures_do_not_count(root):
    for name in "notes.txt", "._a.png", ".DS_Store", "Thumbs.db":
        (root / "images/train" / name).touch()
        (root / "masks/train" / name).touch()
    assert len(Folder(root, "train")) == 4


@pytest.mark.parametrize("build", FORMS.values(), ids=FORMS)
def test_batches(tmp_path, build):
    build(tmp_path)
    module = SegmentationDataModule(
        dataset="folder", root=str(tmp_path), global_batch=2, crop_size=(48, 48), num_workers=0, short_edge=None
    )
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    assert batch["image"].shape == (2, 3, 48, 48) and batch["image"].dtype == torch.uint8
    assert batch["mask"].shape == (2, 48, 48) and set(batch["mask"].unique().tolist()) == {0, 1, 2, 3, 255}
    batch = next(iter(module.val_dataloader()))
    assert batch["name"] == ["d"] and np.array_equal(batch["mask"][0].numpy(), layout.mask_of("val", "d"))


def test_turned_picture_is_refused_where_sizes_do_not_tell(root):
    write_split(root, [constant(*[0, 1] * 3)])
    path = root / "images/train/000.png"
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (6, 6)).save(path, exif=exif)
    with pytest.raises(DataError, match="EXIF orientation 3") as refused:
        Folder(root, "train").read(0)
    assert str(path) in str(refused.value)


# Files and lists


def test_no_folder_is_given():
    for refused in (lambda: Folder(None, "train"), lambda: Folder.classes_of(None)):
        with pytest.raises(DataError, match="give its folder as root"):
            refused()


def test_a_split_that_is_not_there(root):
    shutil.rmtree(root / "images/test")
    message = refusal(root, "test")
    assert f"{root}: has no split test: neither a folder images/test nor a list test.txt" in message


def test_a_split_in_both_forms(root):
    (root / "val.txt").write_text("d\n")
    assert f"{root}: has both a folder images/val and a list val.txt; remove one" in refusal(root, "val")


@pytest.mark.parametrize("build", FORMS.values(), ids=FORMS)
def test_no_folder_of_masks(tmp_path, build):
    build(tmp_path)
    shutil.rmtree(tmp_path / "masks")
    assert f"{tmp_path}: holds no folder 'masks" in refusal(tmp_path)


def test_pictures_without_masks_are_named(root):
    (root / "masks/train/a.png").unlink()
    (root / "masks/train/town/a.tif").unlink()
    message = refusal(root)
    expected = (
        f"{root / 'images/train/a.png'}, {root / 'images/train/town/a.JPG'}: no mask of that name in {root / 'masks/train'}"
    )
    assert expected in message and ".png .tif .tiff .bmp" in message


def test_masks_without_pictures_are_named(root):
    (root / "images/train/a.png").unlink()
    message = refusal(root)
    assert f"{root / 'masks/train/a.png'}: no picture of that name in {root / 'images/train'}" in message


def test_of_many_files_five_are_named(root):
    for index in range(8):
        (root / f"images/train/x{index}.png").touch()
    message = refusal(root)
    assert "x4.png and 3 more: no mask" in message and "x5.png" not in message


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_two_files_of_one_stem_are_named(root, kind):
    ending = ".webp" if kind == "images" else ".bmp"
    shutil.copy(root / kind / "train/a.png", root / kind / f"train/a{ending}")
    message = refusal(root)
    assert str(root / kind / f"train/a{ending}") in message and str(root / kind / "train/a.png") in message
    assert "rename or remove one" in message


def test_two_samples_of_one_name_are_named(root):
    for kind in "images", "masks":
        shutil.copy(root / kind / "train/a.png", root / kind / "train/town_a.png")
    message = refusal(root)
    assert "would both be called town_a" in message
    assert str(root / "images/train/town/a.JPG") in message and str(root / "images/train/town_a.png") in message


def test_masks_saved_as_jpeg(root):
    (root / "masks/train/a.png").unlink()
    Image.fromarray(layout.mask_of("train", "a")).save(root / "masks/train/a.jpg")
    message = refusal(root)
    assert f"{root / 'masks/train/a.jpg'}: masks saved as JPEG" in message and "save masks as PNG" in message


def test_jpeg_that_is_called_png(root):
    Image.fromarray(layout.mask_of("train", "a")).save(root / "masks/train/a.png", format="JPEG")
    message = refusal(root)
    assert f"{root / 'masks/train/a.png'}: this mask is a JPEG" in message


def test_previews_beside_the_masks_do_no_harm(root):
    Image.new("RGB", (80, 60)).save(root / "masks/train/a.jpg")
    assert len(Folder(root, "train")) == 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("d\nnone\nnothing\n", "names none, nothing, but"),
        ("d\ne\nd\n", "names d more than once; remove 1 lines"),
        ("d\nd.png\n", "names d more than once; remove 1 lines"),
        ("images/d.png masks/d.PNG\n", "; write 'd' in place of 'images/d.png masks/d.PNG'"),
        ("d\n/data/images/e.jpeg\n", "names /data/images/e.jpeg, but"),
        ("d.txt\n", "names d.txt, but"),
        (" \n\n", "names no pictures"),
    ],
)
def test_lists_that_do_not_fit(flat, content, said):
    (flat / "val.txt").write_text(content)
    message = refusal(flat, "val")
    assert message.startswith(str(flat / "val.txt")) and said in message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_and_classes_as_programs_of_windows_save_them(flat, encoding):
    (flat / "train.txt").write_bytes("town\\b c.bmp\r\n\r\n  a.PNG  \r\nstreet.01\r\n".encode(encoding))
    names = ["Straße", "Käfer", "车", "tree"]
    (flat / "classes.yaml").write_bytes(f"names: [{', '.join(names)}]\r\n".encode(encoding))
    dataset = Folder(flat, "train")
    assert [dataset.name(index) for index in range(len(dataset))] == ["town_b c", "a", "street.01"]
    assert list(dataset.classes.names) == names


@pytest.mark.parametrize("file", ["train.txt", "classes.yaml"])
def test_text_in_another_encoding(flat, file):
    (flat / file).write_bytes("names: [Straße, Käfer]".encode("cp1252"))
    assert f"{flat / file}: " in refusal(flat) and "is not UTF-8; save it as UTF-8" in refusal(flat)


@pytest.mark.parametrize("forms", [("NFC", "NFD", "NFD"), ("NFD", "NFC", "NFC"), ("NFD", "NFD", "NFC")])
@pytest.mark.parametrize("build", FORMS.values(), ids=FORMS)
def test_letters_with_accents_in_both_unicode_forms(tmp_path, build, forms):
    build(tmp_path)
    image, mask, line = (unicodedata.normalize(form, "é/Zürich 1.5") for form in forms)
    below = "val/" if build is layout.build else ""
    for kind, file, name in ("images", "d.png", image), ("masks", "d.PNG", mask):
        folder = tmp_path / kind / below
        (folder / name).parent.mkdir()
        (folder / file).rename(folder / f"{name}.png")
    if build is layout.build_flat:
        (tmp_path / "val.txt").write_text(f"{line}\ne\n", encoding="utf-8")
    dataset = Folder(tmp_path, "val")
    index = [sample.name for sample in dataset.samples].index(unicodedata.normalize("NFC", "é_Zürich 1.5"))
    assert len(dataset) == 2 and np.array_equal(dataset.read(index)[1], layout.mask_of("val", "d"))


def test_hidden_folders_do_not_count(root):
    expected = Folder(root, "train").samples
    for kind in "images", "masks":
        (root / kind / "train/.ipynb_checkpoints").mkdir()
        shutil.copy(root / kind / "train/a.png", root / kind / "train/.ipynb_checkpoints/a-checkpoint.png")
    dataset = Folder(root, "train")
    assert dataset.samples == expected
    assert dataset.left_out == "in images/train: 1 hidden folder; in masks/train: 1 hidden folder"


@pytest.mark.parametrize("linked", [("images",), ("masks",), ("images", "masks")])
def test_linked_subfolders_count(root, linked):
    expected = [sample.name for sample in Folder(root, "train").samples]
    for kind in linked:
        (root / kind / "train/town").rename(root / f"town of {kind}")
        (root / kind / "train/town").symlink_to(f"../../town of {kind}")
        (root / f"town of {kind}" / "back").symlink_to(root / kind / "train")
    dataset = Folder(root, "train")
    assert [sample.name for sample in dataset.samples] == expected and len(dataset.read(2)) == 2
    assert "1 link to a folder that it is in" in dataset.left_out


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_link_to_nothing_is_named(root, kind):
    (root / kind / "train/a.png").unlink()
    (root / kind / "train/a.png").symlink_to("/nowhere/a.png")
    assert f"{root / kind / 'train/a.png'}: is a link to a file that is not there" in refusal(root)


def test_a_root_below_the_home(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.setenv("DATA", str(root))
    for given in f"~/{root.name}", "$DATA":
        assert Folder(given, "val").root == root and Folder.classes_of(given) == Folder(root, "val").classes
    for refused in (lambda: Folder("$NOT_SET/x", "val"), lambda: Folder.classes_of("$NOT_SET/x")):
        with pytest.raises(DataError, match="variable NOT_SET is not set"):
            refused()


def test_empty_split_folder(root):
    write_split(root, [])
    assert "names no pictures" in refusal(root)


# classes.yaml


def test_no_classes_file(root):
    (root / "classes.yaml").unlink()
    for refused in (lambda: Folder(root, "train"), lambda: Folder.classes_of(root)):
        with pytest.raises(DataError, match="no such file; it gives the classes") as error:
            refused()
        assert str(root / "classes.yaml") in str(error.value)


@pytest.mark.parametrize("content", ["names: [a, b", "", "- a\n- b", "just words", b"\xff\xfe\x00"])
def test_classes_file_that_is_no_mapping(root, content):
    (root / "classes.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refusal(root).startswith(f"{root / 'classes.yaml'}: ")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"colours": [], "clases": 1}, "unknown key clases, colours; the keys are names, colors, values, void, masks"),
        ({"names": None}, "names: is missing"),
        ({"names": "road"}, "names: must be a list, not 'road'"),
        ({"names": ["a", "b", True, "d"]}, "names: True is not a name"),
        ({"names": ["a", "b", 1, "d"]}, "names: 1 is not a name"),
        ({"names": ["a", "b", " ", "d"]}, "names: ' ' is not a name"),
        ({"names": ["a", "b", "a", "d"]}, "names: 'a' is there more than once"),
        ({"names": ["a"]}, "names: 1 of them, but there can be 2 to 254"),
        ({"names": [f"class {n}" for n in range(255)], "colors": None}, "names: 255 of them, but there can be 2 to 254"),
        ({"colors": [[0, 0, 0]]}, "colors: has 1 entries for 4 names"),
        ({"colors": {"road": [0, 0, 0]}}, "colors: must be a list"),
        ({"colors": [[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 0]]}, "colors: [0, 0, 0] is there more than once"),
        ({"colors": [[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 256]]}, "colors: [0, 0, 256] is not a colour"),
        ({"colors": [[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0]]}, "colors: [0, 0] is not a colour"),
        ({"colors": [[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 0.5]]}, "colors: [0, 0, 0.5] is not a colour"),
        ({"colors": [[0, 0, 0], [1, 1, 1], [2, 2, 2], "red"]}, "colors: 'red' is not a colour"),
        ({"values": [0, 1, 2]}, "values: has 3 entries for 4 names"),
        ({"values": [0, 1, 2, 2]}, "values: 2 is there more than once"),
        ({"values": [0, 1, 2, -1]}, "values: -1 is not a value"),
        ({"values": [0, 1, 2, 65536]}, "values: 65536 is not a value"),
        ({"values": [0, 1, 2, True]}, "values: True is not a value"),
        ({"values": 4}, "values: must be a list, not 4"),
        ({"values": [0, 1, 2, 255]}, "void: 255, which is the default, also stands for 'tree'; give another"),
        ({"void": 3}, "void: 3 also stands for 'tree'; give another"),
        ({"void": [9, 9]}, "void: 9 is there more than once"),
        ({"void": "none"}, "void: 'none' is not a value"),
        ({"void": [[0, 0, 0]]}, "void: [0, 0, 0] is not a value"),
        ({"masks": "colours"}, "masks: must be `values` or `colors`"),
        ({"masks": "colors", "values": [0, 1, 2, 3]}, "values: has no meaning with `masks: colors`"),
        ({"masks": "colors", "void": 255}, "void: must be a list, not 255"),
        ({"masks": "colors", "void": [255]}, "void: 255 is not a colour"),
        ({"masks": "colors", "void": [[0, 0, 142]]}, "void: (0, 0, 142) also stands for 'car'"),
    ],
)
def test_classes_file_that_contradicts_itself(root, keys, said):
    layout.write_classes(root, **keys)
    message = refusal(root)
    assert message.startswith(f"{root / 'classes.yaml'}: ") and said in message


def test_void_that_is_nothing(root):
    (root / "classes.yaml").write_text(yaml.safe_dump({"names": list(layout.NAMES), "void": None}))
    assert "void: None is not a value" in refusal(root)


# Masks that are not what they seem


@pytest.mark.parametrize("names", [["background", "thing"], ["background", "thing", "other"]])
def test_two_class_masks_stored_as_0_and_255(root, names):
    layout.write_classes(root, names=names, colors=None)
    write_split(root, [constant(0, 255), constant(0)])
    message = refusal(root)
    assert str(root / "masks/train/000.png") in message and str(root / "classes.yaml") in message
    assert "foreground is taken for void" in message and "loss would be 0 and the mIoU 1.0" in message
    assert "`values: [0, 255]` and another `void`" in message


def test_the_cure_for_0_and_255_helps(root):
    layout.write_classes(root, names=["background", "thing"], colors=None, values=[0, 255], void=[])
    write_split(root, [constant(0, 255), constant(0)])
    assert Folder(root, "train").read(0)[1][:, 0].tolist() == [0, 1]


def test_bilevel_masks_are_0_and_1(root):
    layout.write_classes(root, names=["background", "thing"], colors=None)
    write_split(root, [Image.fromarray(constant(0, 255)).convert("1")])
    assert Folder(root, "train").read(0)[1][:, 0].tolist() == [0, 1]


def test_masks_that_are_void_all_over(root):
    write_split(root, [constant(255)] * 3)
    message = refusal(root)
    assert str(root / "masks/train/000.png") in message and "void in every pixel (void: 255)" in message


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ((2,), "single class, 'car' (2):"),
        ((2, 255), "single class, 'car' (2) and void:"),
        ((0,), "single class, 'background' (0):"),
    ],
)
def test_masks_of_a_single_class(root, mask, said):
    write_split(root, [constant(*mask)] * 3)
    message = refusal(root)
    assert said in message and str(root / "classes.yaml") in message and str(root / "masks/train/000.png") in message


def test_masks_of_a_single_colour(root):
    layout.write_classes(root, **WITH_COLORS)
    write_split(root, [painted(constant(0, 255))])
    message = refusal(root)
    assert "single class, 'background' ((10, 10, 10)) and void" in message and "correct `colors` and `void`" in message


def test_a_class_that_is_rare_is_looked_for_in_all_masks(root):
    masks = [constant(0, 255)] * 200
    # Where 64 evenly spaced masks do not lie.
    looked_at = set(np.linspace(0, 199, 64, dtype=int).tolist())
    rare = next(index for index in range(200) if index not in looked_at)
    masks[rare] = constant(0, 1)
    write_split(root, masks)
    assert len(Folder(root, "train")) == 200


def test_only_64_masks_are_read_where_nothing_is_suspicious(root):
    masks = [constant(0, 1)] * 200
    looked_at = np.linspace(0, 199, 64, dtype=int).tolist()
    write_split(root, masks)
    for index in set(range(200)) - set(looked_at):
        (root / f"masks/train/{index:03d}.png").write_bytes(b"")
    assert len(Folder(root, "train")) == 200
    (root / f"masks/train/{looked_at[40]:03d}.png").write_bytes(b"")
    assert f"{root}/masks/train/{looked_at[40]:03d}.png: is empty" in refusal(root)


def test_values_beyond_the_classes(root):
    write_split(root, [constant(0, 1), constant(0, 4, 7)])
    message = refusal(root)
    assert f"{root / 'masks/train/001.png'}: values 4, 7 in 12 pixels" in message
    assert f"{root / 'classes.yaml'} has 4 `names`; add those that are missing" in message


def test_values_beyond_the_classes_in_a_mask_not_looked_at_before(root):
    dataset = Folder(root, "val")
    Image.fromarray(constant(9)).save(root / "masks/val/e.png")
    with pytest.raises(DataError, match=r"values 9 in 6 pixels.* 4 `names`"):
        dataset.read(1)


def test_masks_in_colours_that_are_read_by_value(root):
    write_split(root, [painted(constant(0, 1))])
    message = refusal(root)
    assert str(root / "masks/train/000.png") in message and "is in color" in message and "masks: colors" in message


def test_palette_masks_whose_values_are_in_another_order_than_their_colours(root):
    shuffled = [layout.COLORS[index] for index in (0, 2, 1, 3)]
    write_split(root, [with_palette(constant(0), shuffled), with_palette(constant(0, 1, 3), shuffled)])
    message = refusal(root)
    assert f"{root / 'masks/train/001.png'}: the value 1 means 'road'" in message
    assert "the color of 'car', [0, 0, 142]; put `masks: colors`" in message
    layout.write_classes(root, masks="colors")
    assert Folder(root, "train").read(1)[1][:, 0].tolist() == [0, 2, 3]


def test_palette_masks_with_a_value_beyond_the_classes_that_has_a_class_colour(root):
    shifted = [(255, 255, 255), *layout.COLORS]
    write_split(root, [with_palette(constant(4, 2), shifted)])
    message = refusal(root)
    assert (
        "masks: colors" in message and "value 2 means 'car', but in this mask's palette it has the color of 'road'" in message
    )


@pytest.mark.parametrize(
    "palette", [layout.COLORS, [(9, 9, 9), (8, 8, 8), (7, 7, 7), (6, 6, 6)]], ids=["the classes'", "some other"]
)
def test_palette_masks_by_value(root, palette):
    write_split(root, [with_palette(constant(0, 2, 3, 1), palette)])
    assert Folder(root, "train").read(0)[1][:, 0].tolist() == [0, 2, 3, 1]


def test_palettes_prove_nothing_where_the_file_gives_no_colours(root):
    layout.write_classes(root, colors=None, values=[1, 2, 3, 4])
    write_split(root, [with_palette(constant(1, 2), VOC_PALETTE[:5])])
    assert Folder(root, "train").read(0)[1][:, 0].tolist() == [0, 1]


def test_colours_that_are_not_in_the_classes_file(root):
    layout.write_classes(root, masks="colors")
    colours = painted(constant(0, 1, 2, 3))
    colours[1, :4] = 0, 0, 140
    colours[2, :2] = 250, 255, 255
    write_split(root, [colours])
    message = refusal(root)
    assert message.startswith(f"{root / 'masks/train/000.png'}: ") and str(root / "classes.yaml") in message
    assert message.index("[0, 0, 140] in 4 pixels (nearest: 'car', [0, 0, 142])") < message.index("[250, 255, 255] in 2 pixels")
    assert "masks: values" not in message


def test_of_many_colours_the_commonest_are_told(root):
    layout.write_classes(root, masks="colors")
    write_split(root, [np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)])
    message = refusal(root)
    assert message.count("nearest:") == 5 and "and 395 more colours" in message


def test_masks_by_value_that_are_read_by_colour(root):
    layout.write_classes(root, masks="colors")
    assert "put `masks: values` if its grey values are class ids" in refusal(root)
