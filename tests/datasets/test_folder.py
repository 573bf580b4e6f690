"""Custom datasets: their layouts and lists, `classes.yaml`, and implausible masks."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from helpers.dataset_behavior import DatasetBehavior, refused
from helpers.files import touch
from helpers.image_files import orientation, palette_image
from helpers.layouts import folder as layout
from helpers.layouts.files import write_image
from PIL import Image

from refinenet_pl.datasets.classes import VOC_PALETTE
from refinenet_pl.datasets.folder import CHECKED, Folder

WHITE = [255, 255, 255]
GRAYS = [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
FIRST = "masks/train/000.png"


@pytest.fixture
def root(tmp_path) -> Path:
    layout.build(tmp_path)
    return tmp_path


@pytest.fixture
def flat(tmp_path) -> Path:
    layout.build_flat(tmp_path)
    return tmp_path


def refuses(root: Path, *named: object, split: str = "train") -> None:
    with refused(*named):
        Folder(root, split)


def names_of(dataset: Folder) -> list[str]:
    return [sample.name for sample in dataset.samples]


def write_split(root: Path, *masks: np.ndarray | Image.Image) -> None:
    """Replace the training samples by these masks, named 000, 001, ..."""
    for kind in "images", "masks":
        shutil.rmtree(root / kind / "train")
        (root / kind / "train").mkdir()
    for index, mask in enumerate(masks):
        mask = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        mask.save(root / f"masks/train/{index:03d}.png")
        Image.new("RGB", mask.size).save(root / f"images/train/{index:03d}.png")


def read_first(root: Path) -> list[int]:
    """The first column of the first mask."""
    return Folder(root, "train").read(0)[1][:, 0].tolist()


def rows(*values: int) -> np.ndarray:
    """A mask with one row per value."""
    return np.repeat(np.array(values, np.uint8)[:, None], 6, axis=1)


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
        with refused("give its folder as root"):
            Folder.classes_of(None)
        with refused(f"{root}/images/classes.yaml: no such file"):
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
    touch(root, "images/train/notes.txt", "images/train/.DS_Store", "images/train/.ipynb_checkpoints/a.png")
    touch(root, "masks/train/a.jpg")  # a preview
    dataset = Folder(root, "train")
    assert dataset.samples == expected
    assert dataset.left_out.startswith("in images/train: 1 hidden file, 1 hidden folder, 1 file of another type")
    assert "; in masks/train: 1 file of another type" in dataset.left_out


def test_linked_subfolders(root):
    expected = names_of(Folder(root, "train"))
    for kind in "images", "masks":
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
    refuses(root, f"{root / kind / 'train/a.png'}: is a link to a missing file")


def test_split_in_neither_or_both_layouts(root):
    shutil.rmtree(root / "images/test")
    refuses(root, f"{root}: has no split test", "images/test", "test.txt", split="test")
    touch(root, "val.txt")
    refuses(root, f"{root}: has both a folder images/val and a list val.txt", split="val")


def test_unpaired_files(root):
    images = [root / f"images/train/{name}" for name in ("a.png", "town/a.JPG", "x0.png", "x1.png", "x2.png", "x3.png")]
    for mask in "a.png", "town/a.tif":
        (root / "masks/train" / mask).unlink()
    refuses(root, f"{images[0]}, {images[1]}: no mask of that name in {root / 'masks/train'}")
    touch(root, *[str(path) for path in images[2:]])
    refuses(root, "x2.png and 1 more: no mask")
    (root / "images/val/d.png").unlink()
    refuses(root, f"{root / 'masks/val/d.PNG'}: no image of that name in {root / 'images/val'}", split="val")


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_two_files_with_one_stem(root, kind):
    touch(root / kind, "train/a.bmp")
    refuses(root, root / kind / "train/a.bmp", root / kind / "train/a.png")


def test_two_samples_with_one_name(root):
    touch(root, "images/train/town_a.png", "masks/train/town_a.png")
    refuses(root, "named town_a", root / "images/train/town/a.JPG", root / "images/train/town_a.png")


def test_masks_saved_as_jpeg(root):
    path = root / "masks/train/a.png"
    Image.fromarray(layout.mask_of("train", "a")).save(path, format="JPEG")
    refuses(root, f"{path}: this mask is a JPEG")
    path.rename(path.with_suffix(".jpg"))
    refuses(root, f"{path.with_suffix('.jpg')}: masks saved as JPEG")


def test_rotated_image_with_an_ambiguous_size(root):
    write_split(root, rows(*[0, 1] * 3))
    Image.new("RGB", (6, 6)).save(root / "images/train/000.png", exif=orientation(3))
    with refused(root / "images/train/000.png", "EXIF orientation 3"):
        Folder(root, "train").read(0)


# Lists


def test_list_may_omit_files(flat):
    (flat / "val.txt").write_text("e\n")
    touch(flat, "images/more.png", "masks/others.png")
    assert names_of(Folder(flat, "val")) == ["e"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("d\nnone\nnothing\n", "lists none, nothing, but"),
        ("d\nd.png\n", "lists d more than once; remove 1 lines"),
        ("images/d.png masks/d.PNG\n", "; write 'd' "),
    ],
)
def test_wrong_list(flat, content, problem):
    (flat / "val.txt").write_text(content)
    refuses(flat, f"{flat / 'val.txt'}: ", problem, split="val")


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


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_classes_file_saved_on_windows(root, encoding):
    (root / "classes.yaml").write_bytes("names: [Straße, 车]\r\n".encode(encoding))
    assert Folder.classes_of(root).names == ("Straße", "车")


@pytest.mark.parametrize("number", [4, 254])
def test_default_colors_are_those_of_voc(root, number):
    layout.write_classes(root, names=[f"class {n}" for n in range(number)], colors=None)
    assert Folder.classes_of(root).palette == VOC_PALETTE[:number]


def test_values_and_void(root):
    layout.write_classes(root, values=[30, 10, 20, 65535], void=[0, 7])
    write_split(root, np.array([[30], [10], [20], [65535], [0], [7]], np.uint16))
    assert read_first(root) == [0, 1, 2, 3, 255, 255]
    layout.write_classes(root, values=[0, 1, 2, 255], void=[])
    write_split(root, rows(0, 255, 2))
    assert read_first(root) == [0, 3, 2]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_masks_by_color(root, mode):
    layout.write_classes(root, masks="colors", void=[WHITE])
    ids = layout.mask_of("train", "a")
    mask = Image.fromarray(painted(ids))
    # Pillow chooses the order of an adaptive palette, so that its values are not class ids.
    write_split(root, mask.quantize(5) if mode == "P" else mask.convert(mode))
    assert np.array_equal(Folder(root, "train").read(0)[1], ids)


def test_colors_with_the_same_channels_in_another_order(root):
    colors, void = [[9, 3, 0], [3, 9, 0], [0, 3, 9], [0, 9, 3]], [[9, 0, 3], [3, 0, 9]]
    layout.write_classes(root, masks="colors", colors=colors, void=void)
    write_split(root, np.array([[color] for color in colors + void], np.uint8))
    assert read_first(root) == [0, 1, 2, 3, 255, 255]


@pytest.mark.parametrize(
    "content", [b"names: [a, b", b"", b"- a\n- b", b"just words", b"\xff\xfe\x00", b"names: [a, b]\nvoid: null"]
)
def test_unusable_classes_file(root, content):
    (root / "classes.yaml").write_bytes(content)
    refuses(root, f"{root / 'classes.yaml'}: ")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"color": [], "clases": 1}, "unknown key clases, color"),
        ({"names": None}, "names: missing"),
        ({"names": "road"}, "names: must be a list, not 'road'"),
        ({"names": ["a", "b", True, "d"]}, "names: True is not a name"),
        ({"names": ["a", "b", " ", "d"]}, "names: ' ' is not a name"),
        ({"names": ["a", "b", "a", "d"]}, "names: 'a' occurs more than once"),
        ({"names": ["a"]}, "names: 1 classes, but 2 to 254"),
        ({"names": [f"class {n}" for n in range(255)], "colors": None}, "names: 255 classes, but 2 to 254"),
        ({"colors": [[0, 0, 0]]}, "colors: has 1 entries for 4 names"),
        ({"colors": [*GRAYS, [0, 0, 0]]}, "colors: [0, 0, 0] occurs more than once"),
        ({"colors": [*GRAYS, [0, 0, 256]]}, "colors: [0, 0, 256] is not a color"),
        ({"colors": [*GRAYS, [0, 0]]}, "colors: [0, 0] is not a color"),
        ({"colors": [*GRAYS, [0, 0, True]]}, "colors: [0, 0, True] is not a color"),
        ({"values": [0, 1, 2]}, "values: has 3 entries for 4 names"),
        ({"values": [0, 1, 2, -1]}, "values: -1 is not a mask value"),
        ({"values": [0, 1, 2, 65536]}, "values: 65536 is not a mask value"),
        ({"values": [0, 1, 2, True]}, "values: True is not a mask value"),
        ({"values": [0, 1, 2, 255]}, "void: 255, the default, also means 'tree'; choose another"),
        ({"void": 3}, "void: 3 also means 'tree'; choose another"),
        ({"void": "none"}, "void: 'none' is not a mask value"),
        ({"masks": "rgb"}, "masks: must be `values` or `colors`"),
        ({"masks": "colors", "values": [0, 1, 2, 3]}, "values: has no meaning with `masks: colors`"),
        ({"masks": "colors", "void": 255}, "void: must be a list, not 255"),
        ({"masks": "colors", "void": [255]}, "void: 255 is not a color"),
        ({"masks": "colors", "void": [[0, 0, 142]]}, "void: [0, 0, 142] also means 'car'"),
    ],
)
def test_wrong_classes_file(root, keys, problem):
    layout.write_classes(root, **keys)
    refuses(root, f"{root / 'classes.yaml'}: {problem}")


# Implausible masks


@pytest.mark.parametrize("names", [["background", "thing"], ["background", "thing", "other"]])
def test_binary_masks_stored_as_0_and_255(root, names):
    layout.write_classes(root, names=names, colors=None)
    write_split(root, rows(0, 255), rows(0))
    refuses(root, root / FIRST, root / "classes.yaml", "foreground would be ignored", "`values: [0, 255]`")
    layout.write_classes(root, names=["background", "thing"], colors=None, values=[0, 255], void=[])
    assert read_first(root) == [0, 1]


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        (rows(255), "void in every pixel (void: 255)"),
        (rows(2), "single class, 'car' (2):"),
        (rows(2, 255), "single class, 'car' (2) and void:"),
        (rows(0), "single class, 'background' (0):"),
        (painted(rows(255)), "void in every pixel (void: (255, 255, 255))"),
        (painted(rows(0, 255)), "single class, 'background' ((10, 10, 10)) and void"),
    ],
)
def test_masks_of_a_single_class(root, mask, problem):
    if mask.ndim == 3:
        layout.write_classes(root, masks="colors", void=[WHITE])
    write_split(root, mask, mask)
    refuses(root, problem, root / "classes.yaml", root / FIRST)


def test_all_masks_are_searched_for_a_second_class(root):
    checked = np.linspace(0, 199, CHECKED, dtype=int).tolist()
    masks = [rows(0, 255)] * 200
    masks[next(index for index in range(200) if index not in checked)] = rows(0, 1)
    write_split(root, *masks)
    assert len(Folder(root, "train")) == 200


def test_plausible_masks_are_not_all_read(root):
    checked = np.linspace(0, 199, CHECKED, dtype=int).tolist()
    write_split(root, *[rows(0, 1)] * 200)
    for index in set(range(200)) - set(checked):
        (root / f"masks/train/{index:03d}.png").write_bytes(b"")
    assert len(Folder(root, "train")) == 200
    damaged = root / f"masks/train/{checked[40]:03d}.png"
    damaged.write_bytes(b"")
    refuses(root, f"{damaged}: is empty")


def test_unknown_values(root):
    dataset = Folder(root, "val")
    write_image(root / "masks/val/e.png", rows(9))
    with refused(" 9 in 6 pixels"):
        dataset.read(1)
    write_split(root, rows(0, 1), rows(0, 4, 7))
    refuses(root, root / "masks/train/001.png", " 4, 7 in 12 pixels", f"{root / 'classes.yaml'} has 4 `names`")


def test_color_masks_read_by_value(root):
    write_split(root, painted(rows(0, 1)))
    refuses(root, root / FIRST, "is in color", "masks: colors")


def test_palette_that_contradicts_the_values(root):
    shuffled = [layout.COLORS[index] for index in (0, 2, 1, 3)]
    write_split(root, palette_image(rows(0), shuffled), palette_image(rows(0, 1, 3), shuffled))
    refuses(root, f"{root / 'masks/train/001.png'}: the value 1 means 'road'", "'car', [0, 0, 142]", "`masks: colors`")
    layout.write_classes(root, masks="colors")
    assert Folder(root, "train").read(1)[1][:, 0].tolist() == [0, 2, 3]


def test_unknown_value_with_the_color_of_a_class(root):
    write_split(root, palette_image(rows(4, 2), [WHITE, *layout.COLORS]))
    refuses(root, "value 2 means 'car'", "'road'", "masks: colors")


@pytest.mark.parametrize("palette", [layout.COLORS, [(9, 9, 9), (8, 8, 8), (7, 7, 7), (6, 6, 6)]], ids=["own", "other"])
def test_palette_masks_by_value(root, palette):
    write_split(root, palette_image(rows(0, 2, 3, 1), palette))
    assert read_first(root) == [0, 2, 3, 1]


def test_palette_is_not_checked_without_colors_in_the_file(root):
    layout.write_classes(root, colors=None, values=[1, 2, 3, 4])
    write_split(root, palette_image(rows(1, 2), VOC_PALETTE[:5]))
    assert read_first(root) == [0, 1]


def test_unknown_colors(root):
    layout.write_classes(root, masks="colors")
    colors = painted(rows(0, 1, 2, 3))
    colors[1, :4] = 0, 0, 140
    colors[2, :2] = WHITE  # by default, there is no void
    write_split(root, colors)
    nearest = "[0, 0, 140] in 4 pixels (nearest: 'car', [0, 0, 142]); [255, 255, 255] in 2 pixels"
    refuses(root, f"{root / FIRST}: ", root / "classes.yaml", nearest)
    write_split(root, np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))
    refuses(root, "and 395 more colors")


def test_value_masks_read_by_color(root):
    layout.write_classes(root, masks="colors")
    refuses(root, "`masks: values`")
