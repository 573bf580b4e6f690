"""Custom datasets: their layouts and lists, `classes.yaml`, and implausible masks."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.dataset_behavior import DatasetBehavior
from helpers.layouts import folder as layout
from helpers.layouts.files import write_image
from PIL import Image

from refinenet_pl.datasets.classes import VOC_PALETTE
from refinenet_pl.datasets.folder import CHECKED, Folder
from refinenet_pl.errors import DataError

WHITE = [255, 255, 255]
GRAYS = [[0, 0, 0], [1, 1, 1], [2, 2, 2]]


@pytest.fixture
def root(tmp_path) -> Path:
    layout.build(tmp_path)
    return tmp_path


@pytest.fixture
def flat(tmp_path) -> Path:
    layout.build_flat(tmp_path)
    return tmp_path


def opening_error(root: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as error:
        Folder(root, split)
    return str(error.value)


def names_of(dataset: Folder) -> list[str]:
    return [sample.name for sample in dataset.samples]


def write_split(root: Path, masks: list[np.ndarray | Image.Image], split: str = "train") -> None:
    """Replace the split's samples by these masks, named 000, 001, ..."""
    for kind in "images", "masks":
        shutil.rmtree(root / kind / split)
        (root / kind / split).mkdir()
    for index, mask in enumerate(masks):
        mask = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        mask.save(root / f"masks/{split}/{index:03d}.png")
        Image.new("RGB", mask.size).save(root / f"images/{split}/{index:03d}.png")


def read_first(root: Path) -> list[int]:
    """The first column of the first mask."""
    return Folder(root, "train").read(0)[1][:, 0].tolist()


def rows(*values: int) -> np.ndarray:
    """A mask with one row per value."""
    return np.repeat(np.array(values, np.uint8)[:, None], 6, axis=1)


def with_palette(ids: np.ndarray, palette: list | tuple) -> Image.Image:
    mask = Image.fromarray(ids)
    mask.putpalette([part for color in palette for part in color])
    return mask


def painted(ids: np.ndarray) -> np.ndarray:
    """Class ids in the layout's colors, white for void."""
    table = np.full((256, 3), 255, np.uint8)
    table[:4] = layout.COLORS
    return table[ids]


class TestFolders(DatasetBehavior):
    name, dataset, layout = "folder", Folder, layout
    files = ("classes.yaml",)
    split_folders = ("images/train", "masks/train")
    folders = (*split_folders, "masks")
    unknown_values = (4,)
    stems = {stem.replace("/", "_"): (split, stem) for split, stems in layout.SAMPLES.items() for stem in stems}
    image_folder = "images/{split}/"

    def image_of(self, root, name):
        split, stem = self.stems[name]
        return np.array(Image.open(root / f"{self.image_folder.format(split=split)}{stem}{layout.SAMPLES[split][stem][2]}"))

    def mask_of(self, name):
        return layout.mask_of(*self.stems[name])

    def test_facts(self, root):
        assert self.dataset.split_sizes == {"train": None, "val": None, "test": None}
        classes = Folder.classes_of(root)
        assert (classes.names, classes.palette, classes.ignore_index) == (layout.NAMES, layout.COLORS, 255)
        with pytest.raises(DataError, match="give its folder as root"):
            Folder.classes_of(None)
        with pytest.raises(DataError, match="variable NOT_SET is not set"):
            Folder.classes_of("$NOT_SET/x")
        with pytest.raises(DataError, match="images/classes.yaml: no such file; it defines the classes"):
            Folder.classes_of(root / "images")


class TestLists(TestFolders):
    split_folders = ()
    folders = ("images", "masks", "train.txt")
    lists = ("train.txt",)
    image_folder = "images/"

    def build(self, root):
        layout.build_flat(root)


# Folders and files


def test_other_files_and_hidden_folders_are_ignored(root):
    expected = Folder(root, "train").samples
    for kind in "images", "masks":
        for name in "notes.txt", "._a.png", ".DS_Store", "Thumbs.db":
            (root / kind / "train" / name).touch()
        (root / kind / "train/.ipynb_checkpoints").mkdir()
        shutil.copy(root / kind / "train/a.png", root / kind / "train/.ipynb_checkpoints/a-checkpoint.png")
    Image.new("RGB", (80, 60)).save(root / "masks/train/a.jpg")  # a preview
    dataset = Folder(root, "train")
    assert dataset.samples == expected
    assert dataset.left_out.startswith("in images/train: 2 hidden files, 1 hidden folder, 2 files of other types")
    assert "; in masks/train: 2 hidden files, 1 hidden folder, 3 files of other types" in dataset.left_out


@pytest.mark.parametrize("linked", [("images",), ("masks",), ("images", "masks")])
def test_linked_subfolders(root, linked):
    expected = names_of(Folder(root, "train"))
    for kind in linked:
        (root / kind / "train/town").rename(root / f"town of {kind}")
        (root / kind / "train/town").symlink_to(f"../../town of {kind}")
        (root / f"town of {kind}" / "back").symlink_to(root / kind / "train")
    dataset = Folder(root, "train")
    assert names_of(dataset) == expected and len(dataset.read(2)) == 2
    assert "1 link to a" in dataset.left_out


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_broken_link(root, kind):
    (root / kind / "train/a.png").unlink()
    (root / kind / "train/a.png").symlink_to("/nowhere/a.png")
    assert f"{root / kind / 'train/a.png'}: is a link to a missing file" in opening_error(root)


def test_split_in_neither_or_both_layouts(root):
    shutil.rmtree(root / "images/test")
    message = opening_error(root, "test")
    assert f"{root}: has no split test: neither a folder images/test nor a list test.txt" in message
    (root / "val.txt").write_text("d\n")
    assert f"{root}: has both a folder images/val and a list val.txt; remove one" in opening_error(root, "val")


def test_unpaired_files(root):
    (root / "masks/train/a.png").unlink()
    (root / "masks/train/town/a.tif").unlink()
    message = opening_error(root)
    images = f"{root / 'images/train/a.png'}, {root / 'images/train/town/a.JPG'}"
    assert f"{images}: no mask of that name in {root / 'masks/train'}" in message and ".png .tif .tiff .bmp" in message
    for index in range(8):
        (root / f"images/train/x{index}.png").touch()
    message = opening_error(root)
    assert "x2.png and 5 more: no mask" in message and "x3.png" not in message
    (root / "images/val/d.png").unlink()
    assert f"{root / 'masks/val/d.PNG'}: no image of that name in {root / 'images/val'}" in opening_error(root, "val")


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_two_files_with_one_stem(root, kind):
    copy = root / kind / f"train/a{'.webp' if kind == 'images' else '.bmp'}"
    shutil.copy(root / kind / "train/a.png", copy)
    message = opening_error(root)
    assert str(copy) in message and str(root / kind / "train/a.png") in message and "rename or remove one" in message


def test_two_samples_with_one_name(root):
    for kind in "images", "masks":
        shutil.copy(root / kind / "train/a.png", root / kind / "train/town_a.png")
    message = opening_error(root)
    assert "named town_a" in message
    assert str(root / "images/train/town/a.JPG") in message and str(root / "images/train/town_a.png") in message


def test_masks_saved_as_jpeg(root):
    mask = Image.fromarray(layout.mask_of("train", "a"))
    mask.save(root / "masks/train/a.png", format="JPEG")
    assert f"{root / 'masks/train/a.png'}: this mask is a JPEG" in opening_error(root)
    (root / "masks/train/a.png").rename(root / "masks/train/a.jpg")
    message = opening_error(root)
    assert f"{root / 'masks/train/a.jpg'}: masks saved as JPEG" in message and "save masks as PNG" in message


def test_rotated_image_with_an_ambiguous_size(root):
    write_split(root, [rows(*[0, 1] * 3)])
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (6, 6)).save(root / "images/train/000.png", exif=exif)
    with pytest.raises(DataError, match="EXIF orientation 3") as error:
        Folder(root, "train").read(0)
    assert str(root / "images/train/000.png") in str(error.value)


# Lists


def test_list_may_omit_files(flat):
    (flat / "val.txt").write_text("e\n")
    (flat / "images/more.png").touch()
    (flat / "masks/others.png").touch()
    assert names_of(Folder(flat, "val")) == ["e"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("d\nnone\nnothing\n", "lists none, nothing, but"),
        ("d\ne\nd\n", "lists d more than once; remove 1 lines"),
        ("d\nd.png\n", "lists d more than once; remove 1 lines"),
        ("images/d.png masks/d.PNG\n", "; write 'd' "),
        ("d\n/data/images/e.jpeg\n", "lists /data/images/e.jpeg, but"),
        ("d.txt\n", "lists d.txt, but"),
    ],
)
def test_wrong_list(flat, content, problem):
    (flat / "val.txt").write_text(content)
    message = opening_error(flat, "val")
    assert message.startswith(str(flat / "val.txt")) and problem in message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_files_of_windows(flat, encoding):
    (flat / "train.txt").write_bytes("town\\b c.bmp\r\n\r\n  a.PNG  \r\nstreet.01\r\n".encode(encoding))
    names = ["Straße", "Käfer", "车", "tree"]
    (flat / "classes.yaml").write_bytes(f"names: [{', '.join(names)}]\r\n".encode(encoding))
    dataset = Folder(flat, "train")
    assert names_of(dataset) == ["town_b c", "a", "street.01"] and list(dataset.classes.names) == names


@pytest.mark.parametrize("file", ["train.txt", "classes.yaml"])
def test_text_in_another_encoding(flat, file):
    (flat / file).write_bytes("names: [Straße, Käfer]".encode("cp1252"))
    message = opening_error(flat)
    assert f"{flat / file}: " in message and "UTF-8" in message


@pytest.mark.parametrize("forms", [("NFC", "NFD", "NFD"), ("NFD", "NFC", "NFC"), ("NFD", "NFD", "NFC")])
@pytest.mark.parametrize("build", [layout.build, layout.build_flat])
def test_unicode_forms_of_names(tmp_path, build, forms):
    build(tmp_path)
    image, mask, line = (unicodedata.normalize(form, "é/Zürich 1.5") for form in forms)
    subfolder = "val/" if build is layout.build else ""
    for kind, file, name in ("images", "d.png", image), ("masks", "d.PNG", mask):
        folder = tmp_path / kind / subfolder
        (folder / name).parent.mkdir()
        (folder / file).rename(folder / f"{name}.png")
    if build is layout.build_flat:
        (tmp_path / "val.txt").write_text(f"{line}\ne\n", encoding="utf-8")
    dataset = Folder(tmp_path, "val")
    index = names_of(dataset).index(unicodedata.normalize("NFC", "é_Zürich 1.5"))
    assert len(dataset) == 2 and np.array_equal(dataset.read(index)[1], layout.mask_of("val", "d"))


# classes.yaml


def test_default_colors_are_those_of_voc(root):
    layout.write_classes(root, colors=None)
    assert Folder.classes_of(root).palette == VOC_PALETTE[:4]
    layout.write_classes(root, names=[f"class {n}" for n in range(254)], colors=None)
    assert Folder.classes_of(root).palette == VOC_PALETTE[:254]


def test_values_and_void(root):
    layout.write_classes(root, values=[30, 10, 20, 65535], void=[0, 7])
    write_split(root, [np.array([[30], [10], [20], [65535], [0], [7]], np.uint16)])
    assert read_first(root) == [0, 1, 2, 3, 255, 255]
    layout.write_classes(root, values=[0, 1, 2, 255], void=[])
    write_split(root, [rows(0, 255, 2)])
    assert read_first(root) == [0, 3, 2]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_masks_by_color(root, mode):
    layout.write_classes(root, masks="colors", void=[WHITE])
    ids = layout.mask_of("train", "a")
    mask = Image.fromarray(painted(ids))
    # Pillow chooses the order of an adaptive palette, so that its values are not class ids.
    write_split(root, [mask.quantize(5) if mode == "P" else mask.convert(mode)])
    assert np.array_equal(Folder(root, "train").read(0)[1], ids)


def test_colors_with_the_same_channels_in_another_order(root):
    colors = [[9, 3, 0], [3, 9, 0], [0, 3, 9], [0, 9, 3]]
    layout.write_classes(root, masks="colors", colors=colors, void=[[9, 0, 3], [3, 0, 9]])
    write_split(root, [np.array([[color] for color in [*colors, [9, 0, 3], [3, 0, 9]]], np.uint8)])
    assert read_first(root) == [0, 1, 2, 3, 255, 255]


@pytest.mark.parametrize("content", [b"names: [a, b", b"", b"- a\n- b", b"just words", b"\xff\xfe\x00"])
def test_classes_file_that_is_not_a_mapping(root, content):
    (root / "classes.yaml").write_bytes(content)
    assert opening_error(root).startswith(f"{root / 'classes.yaml'}: ")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"color": [], "clases": 1}, "unknown key clases, color; the keys are names, colors, values, void, masks"),
        ({"names": None}, "names: missing"),
        ({"names": "road"}, "names: must be a list, not 'road'"),
        ({"names": ["a", "b", True, "d"]}, "names: True is not a name"),
        ({"names": ["a", "b", 1, "d"]}, "names: 1 is not a name"),
        ({"names": ["a", "b", " ", "d"]}, "names: ' ' is not a name"),
        ({"names": ["a", "b", "a", "d"]}, "names: 'a' occurs more than once"),
        ({"names": ["a"]}, "names: 1 classes, but 2 to 254"),
        ({"names": [f"class {n}" for n in range(255)], "colors": None}, "names: 255 classes, but 2 to 254"),
        ({"colors": [[0, 0, 0]]}, "colors: has 1 entries for 4 names"),
        ({"colors": {"road": [0, 0, 0]}}, "colors: must be a list"),
        ({"colors": [*GRAYS, [0, 0, 0]]}, "colors: [0, 0, 0] occurs more than once"),
        ({"colors": [*GRAYS, [0, 0, 256]]}, "colors: [0, 0, 256] is not a color"),
        ({"colors": [*GRAYS, [0, 0]]}, "colors: [0, 0] is not a color"),
        ({"colors": [*GRAYS, [0, 0, 0.5]]}, "colors: [0, 0, 0.5] is not a color"),
        ({"colors": [*GRAYS, [0, 0, True]]}, "colors: [0, 0, True] is not a color"),
        ({"colors": [*GRAYS, "red"]}, "colors: 'red' is not a color"),
        ({"values": [0, 1, 2]}, "values: has 3 entries for 4 names"),
        ({"values": [0, 1, 2, 2]}, "values: 2 occurs more than once"),
        ({"values": [0, 1, 2, -1]}, "values: -1 is not a mask value"),
        ({"values": [0, 1, 2, 65536]}, "values: 65536 is not a mask value"),
        ({"values": [0, 1, 2, True]}, "values: True is not a mask value"),
        ({"values": 4}, "values: must be a list, not 4"),
        ({"values": [0, 1, 2, 255]}, "void: 255, the default, also means 'tree'; choose another"),
        ({"void": 3}, "void: 3 also means 'tree'; choose another"),
        ({"void": [9, 9]}, "void: 9 occurs more than once"),
        ({"void": "none"}, "void: 'none' is not a mask value"),
        ({"void": [[0, 0, 0]]}, "void: [0, 0, 0] is not a mask value"),
        ({"masks": "rgb"}, "masks: must be `values` or `colors`"),
        ({"masks": "colors", "values": [0, 1, 2, 3]}, "values: has no meaning with `masks: colors`"),
        ({"masks": "colors", "void": 255}, "void: must be a list, not 255"),
        ({"masks": "colors", "void": [255]}, "void: 255 is not a color"),
        ({"masks": "colors", "void": [[0, 0, 142]]}, "void: [0, 0, 142] also means 'car'"),
    ],
)
def test_wrong_classes_file(root, keys, problem):
    layout.write_classes(root, **keys)
    message = opening_error(root)
    assert message.startswith(f"{root / 'classes.yaml'}: ") and problem in message


def test_void_null(root):
    (root / "classes.yaml").write_text(yaml.safe_dump({"names": list(layout.NAMES), "void": None}))
    assert "void: None is not a mask value" in opening_error(root)


# Implausible masks


@pytest.mark.parametrize("names", [["background", "thing"], ["background", "thing", "other"]])
def test_binary_masks_stored_as_0_and_255(root, names):
    layout.write_classes(root, names=names, colors=None)
    write_split(root, [rows(0, 255), rows(0)])
    message = opening_error(root)
    assert str(root / "masks/train/000.png") in message and str(root / "classes.yaml") in message
    assert "foreground would be ignored" in message and "`values: [0, 255]` and another `void`" in message
    layout.write_classes(root, names=["background", "thing"], colors=None, values=[0, 255], void=[])
    assert read_first(root) == [0, 1]


def test_bilevel_masks_are_0_and_1(root):
    layout.write_classes(root, names=["background", "thing"], colors=None)
    write_split(root, [Image.fromarray(rows(0, 255)).convert("1")])
    assert read_first(root) == [0, 1]


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        (rows(255), "void in every pixel (void: 255)"),
        (rows(2), "single class, 'car' (2):"),
        (rows(2, 255), "single class, 'car' (2) and void:"),
        (rows(0), "single class, 'background' (0):"),
    ],
)
def test_masks_of_a_single_class(root, mask, problem):
    write_split(root, [mask] * 3)
    message = opening_error(root)
    assert problem in message and str(root / "classes.yaml") in message and str(root / "masks/train/000.png") in message


def test_masks_of_a_single_color(root):
    layout.write_classes(root, masks="colors", void=[WHITE])
    write_split(root, [painted(rows(0, 255))])
    message = opening_error(root)
    assert "single class, 'background' ((10, 10, 10)) and void" in message and "correct `colors` and `void`" in message
    write_split(root, [painted(rows(255))])
    assert "void in every pixel (void: (255, 255, 255))" in opening_error(root)


def test_all_masks_are_searched_for_a_second_class(root):
    checked = np.linspace(0, 199, CHECKED, dtype=int).tolist()
    masks = [rows(0, 255)] * 200
    masks[next(index for index in range(200) if index not in checked)] = rows(0, 1)
    write_split(root, masks)
    assert len(Folder(root, "train")) == 200


def test_plausible_masks_are_not_all_read(root):
    checked = np.linspace(0, 199, CHECKED, dtype=int).tolist()
    write_split(root, [rows(0, 1)] * 200)
    for index in set(range(200)) - set(checked):
        (root / f"masks/train/{index:03d}.png").write_bytes(b"")
    assert len(Folder(root, "train")) == 200 and len(checked) == 64
    damaged = root / f"masks/train/{checked[40]:03d}.png"
    damaged.write_bytes(b"")
    assert f"{damaged}: is empty" in opening_error(root)


def test_unknown_values(root):
    dataset = Folder(root, "val")
    write_image(root / "masks/val/e.png", rows(9))
    with pytest.raises(DataError, match=r" 9 in 6 pixels.* 4 `names`"):
        dataset.read(1)
    write_split(root, [rows(0, 1), rows(0, 4, 7)])
    message = opening_error(root)
    assert str(root / "masks/train/001.png") in message and " 4, 7 in 12 pixels" in message
    assert f"{root / 'classes.yaml'} has 4 `names`; add the missing ones" in message


def test_color_masks_read_by_value(root):
    write_split(root, [painted(rows(0, 1))])
    message = opening_error(root)
    assert str(root / "masks/train/000.png") in message and "is in color" in message and "masks: colors" in message


def test_palette_that_contradicts_the_values(root):
    shuffled = [layout.COLORS[index] for index in (0, 2, 1, 3)]
    write_split(root, [with_palette(rows(0), shuffled), with_palette(rows(0, 1, 3), shuffled)])
    message = opening_error(root)
    assert f"{root / 'masks/train/001.png'}: the value 1 means 'road'" in message
    assert "the color of 'car', [0, 0, 142]; put `masks: colors`" in message
    layout.write_classes(root, masks="colors")
    assert Folder(root, "train").read(1)[1][:, 0].tolist() == [0, 2, 3]


def test_unknown_value_with_the_color_of_a_class(root):
    write_split(root, [with_palette(rows(4, 2), [WHITE, *layout.COLORS])])
    message = opening_error(root)
    assert "value 2 means 'car', but in this mask's palette it has the color of 'road'" in message
    assert "masks: colors" in message


@pytest.mark.parametrize("palette", [layout.COLORS, [(9, 9, 9), (8, 8, 8), (7, 7, 7), (6, 6, 6)]], ids=["own", "other"])
def test_palette_masks_by_value(root, palette):
    write_split(root, [with_palette(rows(0, 2, 3, 1), palette)])
    assert read_first(root) == [0, 2, 3, 1]


def test_palette_is_not_checked_without_colors_in_the_file(root):
    layout.write_classes(root, colors=None, values=[1, 2, 3, 4])
    write_split(root, [with_palette(rows(1, 2), VOC_PALETTE[:5])])
    assert read_first(root) == [0, 1]


def test_unknown_colors(root):
    layout.write_classes(root, masks="colors")
    colors = painted(rows(0, 1, 2, 3))
    colors[1, :4] = 0, 0, 140
    colors[2, :2] = WHITE  # by default, there is no void
    write_split(root, [colors])
    message = opening_error(root)
    assert message.startswith(f"{root / 'masks/train/000.png'}: ") and str(root / "classes.yaml") in message
    assert message.index("[0, 0, 140] in 4 pixels (nearest: 'car', [0, 0, 142])") < message.index("[255, 255, 255] in 2 pixels")
    assert "masks: values" not in message
    write_split(root, [np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)])
    message = opening_error(root)
    assert message.count("nearest:") == 5 and "and 395 more colors" in message


def test_value_masks_read_by_color(root):
    layout.write_classes(root, masks="colors")
    assert "set `masks: values` if its gray values are class ids" in opening_error(root)
