"""Files below folders, names in lists, paths that users give, and what `predict` does with all of them."""

import os
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.layouts import ade20k, cityscapes, nyudv2, pascal_context, person_part, sunrgbd, voc2012
from PIL import Image

from refinenet_pl.callbacks.samples import Sample, write_samples
from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.cli.export import default_output
from refinenet_pl.cli.inputs import Input, find_images, output_names, select
from refinenet_pl.cli.main import main
from refinenet_pl.cli.predict import segment
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.readers.finding import find_files
from refinenet_pl.datasets.readers.text import IMAGE_EXTENSIONS, match_name, read_names, read_text, suggest_name
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.datasets.voc import VOC2012
from refinenet_pl.errors import DataError
from refinenet_pl.files import distinct, expand_path, refuse_existing
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.segmentation import SegmentationTask
from refinenet_pl.visualization.predictions import ENDINGS

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Zürich") for form in ("NFC", "NFD"))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_files(folder, IMAGE_EXTENSIONS)[0]]


# Folders


def test_files_are_sorted_and_everything_else_is_counted(tmp_path):
    touch(tmp_path, "b.JPG", "a.png", "in/c.tif", "._a.png", "in/.d.png", ".ipynb_checkpoints/a.png", "x.txt", "in/y.TXT", "z")
    (tmp_path / "e.png").symlink_to("nothing")
    (tmp_path / "f.png").symlink_to("f.png")
    (tmp_path / "note").symlink_to("nothing")
    _, left_out = find_files(tmp_path, IMAGE_EXTENSIONS)
    assert found(tmp_path) == ["a.png", "b.JPG", "in/c.tif"]
    assert (left_out.hidden_files, left_out.hidden_folders) == (2, 1)
    assert left_out.others == Counter({".txt": 2, "": 2}) and sorted(p.name for p in left_out.broken) == ["e.png", "f.png"]
    assert str(left_out).startswith(
        "2 hidden files, 1 hidden folder, 4 files of other types (.txt, without extension), 2 broken"
    )


def test_nothing_left_out_is_nothing_to_say(tmp_path):
    touch(tmp_path, "a.png")
    assert str(find_files(tmp_path, IMAGE_EXTENSIONS)[1]) == ""


def test_a_hidden_folder_that_is_given_is_entered(tmp_path):
    touch(tmp_path, ".cache/pictures/a.png")
    assert found(tmp_path / ".cache") == ["pictures/a.png"]


def test_linked_folders_are_entered_and_circles_are_not(tmp_path):
    touch(tmp_path, "here/a.png", "elsewhere/b.png", "elsewhere/deep/c.png")
    (tmp_path / "here/link").symlink_to("../elsewhere")
    (tmp_path / "here/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "here")
    (tmp_path / "elsewhere/deep/self").symlink_to(".")
    names = found(tmp_path / "here")
    assert names == ["a.png", "again/b.png", "again/deep/c.png", "link/b.png", "link/deep/c.png"]
    assert len(find_files(tmp_path / "here", IMAGE_EXTENSIONS)[1].circular) == 4


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    with pytest.raises(DataError, match="none: cannot be listed"):
        find_files(tmp_path / "none", IMAGE_EXTENSIONS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_without_permission_is_said(tmp_path):
    touch(tmp_path, "locked/a.png")
    (tmp_path / "locked").chmod(0)
    _, left_out = find_files(tmp_path, IMAGE_EXTENSIONS)
    assert "1 folder that cannot be listed" in str(left_out)
    with pytest.raises(DataError, match="locked: this folder cannot be listed"):
        left_out.refuse_unreadable()


# Text files and names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark", "utf-16-be-mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_of_any_system(tmp_path, encoding, end):
    mark = "\ufeff" if "mark" in encoding else ""
    text = f"{mark}Käfer 甲{end}{end} b 1.5{end}"
    (tmp_path / "list.txt").write_bytes(text.encode(encoding.removesuffix("-mark")))
    assert read_text(tmp_path / "list.txt") == "Käfer 甲\n\n b 1.5\n"
    assert read_names(tmp_path / "list.txt") == ["Käfer 甲", " b 1.5"]


@pytest.mark.parametrize(
    "content",
    ["Käfer".encode("cp1252"), "Käfer".encode("utf-16-le"), "names".encode("utf-16-be"), b"\xff\xfea", "a".encode("utf-32"),
     b"\x89PNG\r\n\x1a\n"],
)  # fmt: skip
def test_text_in_another_encoding_is_refused(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"list\.txt: .*is not UTF-8; save it as UTF-8"):
        read_text(tmp_path / "list.txt")


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path)


KNOWN = {"frame_1", "frame_1.5", "1305031102.175304", "my picture", " odd ", COMPOSED, "in/a", "scan.png"}


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("frame_1.5", "frame_1.5"),
        ("frame_1.jpg", "frame_1"),
        ("frame_1.5.PNG", "frame_1.5"),
        ("frame_1.txt", None),
        ("1305031102.175304", "1305031102.175304"),
        ("my picture", "my picture"),
        ("my picture.tif \t", "my picture"),
        (" odd ", " odd "),
        (" frame_1 ", "frame_1"),
        (DECOMPOSED, COMPOSED),
        (DECOMPOSED + ".jpg", COMPOSED),
        ("in\\a.png", "in/a"),
        ("./in/a", "in/a"),
        ("scan.png", "scan.png"),
        ("scan", None),
        ("", None),
    ],
)
def test_names_as_they_are_and_then_without_an_extension(entry, name):
    assert match_name(entry, KNOWN) == name


@pytest.mark.parametrize(
    ("entry", "advice"),
    [
        ("images/frame_1.jpg masks/frame_1.png", "write 'frame_1' in place of 'images/frame_1.jpg masks/frame_1.png'"),
        ("frame_1.5,masks/x.png", "write 'frame_1.5' in place of 'frame_1.5,masks/x.png'"),
        ("/data/images/my picture.jpg", "write 'my picture' in place of '/data/images/my picture.jpg'"),
        ("C:\\images\\in\\a.png", "write 'in/a' in place of 'C:\\images\\in\\a.png'"),
        ("other", ""),
    ],
)
def test_advice_for_lines_that_hold_a_name(entry, advice):
    assert suggest_name(entry, KNOWN) == advice


# The published datasets

LAYOUTS = {
    "ade20k": (ade20k, "val"),
    "cityscapes": (cityscapes, "val"),
    "nyudv2": (nyudv2, "train"),
    "pascal_context": (pascal_context, "train"),
    "person_part": (person_part, "train"),
    "sunrgbd": (sunrgbd, "train"),
    "voc2012": (voc2012, "train_aug"),
}


@pytest.fixture(params=LAYOUTS)
def copy_of(request, tmp_path):
    """A small copy of a dataset: its folder, and a function that opens it and gives its samples."""
    layout, split = LAYOUTS[request.param]
    (tmp_path / "root").mkdir()
    layout.build(tmp_path / "root")
    return tmp_path / "root", lambda: find_dataset(request.param)(root=tmp_path / "root", split=split).samples


@pytest.mark.parametrize("copy_of", ["pascal_context", "person_part", "voc2012"], indirect=True)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_of_a_dataset_as_programs_of_windows_save_them(copy_of, encoding):
    root, samples = copy_of
    expected = samples()
    for path in list(root.rglob("*.txt")):
        path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    assert samples() == expected


def test_hidden_files_beside_all_files_of_a_dataset(copy_of):
    root, samples = copy_of
    expected = samples()
    for path in list(root.rglob("*")):
        (path.parent / f"._{path.name}").write_bytes(b"Mac OS X")
    assert samples() == expected


def test_names_of_a_dataset_in_both_unicode_forms(tmp_path):
    voc2012.build(tmp_path)
    home = tmp_path / "VOCdevkit/VOC2012"
    name = voc2012.TRAIN[0]
    for file, form in (home / f"JPEGImages/{name}.jpg", COMPOSED), (home / f"SegmentationClass/{name}.png", DECOMPOSED):
        file.rename(file.with_name(form + file.suffix))
    for form in COMPOSED, DECOMPOSED:
        (home / "ImageSets/Segmentation/train.txt").write_text(form, encoding="utf-8")
        dataset = find_dataset("voc2012")(root=tmp_path, split="train")
        assert len(dataset) == 1 and np.array_equal(dataset.read(0)[1], voc2012.mask_of(name))


# Paths


@pytest.mark.parametrize(
    ("given", "expanded"),
    [
        ("~", "HOME"),
        ("~/x", "HOME/x"),
        ("$HERE/a", "HOME/here/a"),
        ("${HERE}s/a", "HOME/heres/a"),
        ("$TILDE/a", "HOME/a"),
        ("a/~/b", "a/~/b"),
        ("cost$5", "cost$5"),
        ("a$", "a$"),
        ("./a/", "a"),
    ],
)
def test_paths_are_expanded_as_by_a_shell(given, expanded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/some")
    monkeypatch.setenv("HERE", "/home/some/here")
    monkeypatch.setenv("TILDE", "~")
    assert expand_path(given) == expand_path(Path(given)) == Path(expanded.replace("HOME", "/home/some"))


@pytest.mark.parametrize("given", ["$NOWHERE_AT_ALL/a", "a/${NOWHERE_AT_ALL}", "~/$NOWHERE_AT_ALL"])
def test_a_variable_that_is_not_set_is_named(given):
    with pytest.raises(ValueError, match="environment variable NOWHERE_AT_ALL is not set"):
        expand_path(given)
    with pytest.raises(DataError):
        expand_path(given, DataError)


@pytest.mark.parametrize("name", ["$x.png", "~", "$x/a.png", "${y}"])
def test_what_exists_as_it_is_given_is_not_expanded(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, name)
    assert expand_path(name) == Path(name)


def test_a_new_file_in_a_folder_with_a_dollar(tmp_path):
    (tmp_path / "$x").mkdir()
    assert expand_path(tmp_path / "$x" / "new") == tmp_path / "$x" / "new"


@pytest.mark.parametrize(
    ("names", "endings", "numbered"),
    [
        (["a", "b"], [""], ["a", "b"]),
        (["a", "a", "a"], [""], ["a", "a_2", "a_3"]),
        (["a", "a", "a_2"], [""], ["a", "a_2", "a_2_2"]),
        (["A", "a"], [""], ["A", "a_2"]),
        ([COMPOSED, DECOMPOSED], [""], [COMPOSED, DECOMPOSED + "_2"]),
        (["a", "a_color", "a_color_overlay"], ENDINGS, ["a", "a_color_2", "a_color_overlay"]),
        (["a_overlay", "a"], ENDINGS, ["a_overlay", "a_2"]),
    ],
)
def test_names_whose_files_would_be_one_are_numbered(names, endings, numbered):
    assert distinct(names, endings) == numbered


def test_existing_files_are_named_and_counted(tmp_path):
    touch(tmp_path, "a", "b")
    refuse_existing([tmp_path / "new"])
    with pytest.raises(ValueError, match=r"b \(and 1 more files\): would be overwritten; .* --overwrite"):
        refuse_existing([tmp_path / "new", tmp_path / "b", tmp_path / "a"])


# The images of predict


@pytest.fixture
def street(tmp_path, monkeypatch) -> Path:
    """street/{a.png, b.JPG, notes.txt, deep/c.pgm}, the current folder above it."""
    touch(tmp_path, "street/b.JPG", "street/a.png", "street/notes.txt", "street/deep/c.pgm")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREET", str(tmp_path / "street"))
    return Path("street")


@pytest.mark.parametrize(
    ("patterns", "files"),
    [
        (["street/a.png"], ["a.png"]),
        (["street/notes.txt"], ["notes.txt"]),
        (["street"], ["a.png", "b.JPG", "deep/c.pgm"]),
        (["street/"], ["a.png", "b.JPG", "deep/c.pgm"]),
        (["street/*.png"], ["a.png"]),
        (["street/*.txt"], ["notes.txt"]),
        (["street/*"], ["a.png", "b.JPG", "deep/c.pgm"]),
        (["street/**"], ["a.png", "b.JPG", "deep/c.pgm"]),
        (["street/**/*.p?m"], ["deep/c.pgm"]),
        (["street", "street/a.png", "./street/a.png"], ["a.png", "b.JPG", "deep/c.pgm"]),
        (["street/deep", "street/a.png"], ["deep/c.pgm", "a.png"]),
    ],
)
def test_images_are_found_by_name_folder_and_pattern_each_once(street, patterns, files):
    assert [image.path for image in find_images(patterns, Path("out"))[0]] == [street / name for name in files]


def test_variables_are_expanded_in_files_folders_and_patterns(street):
    for given in "$STREET/a.png", "$STREET", "${STREET}/*.png":
        assert find_images([given], Path("out"))[0][0].path == street.absolute() / "a.png"


def test_a_pattern_enters_a_circle_once(street):
    (street / "deep/back").symlink_to("..")
    images, _ = find_images(["street/**/*.png"], Path("out"))
    assert [image.path for image in images] == [street / "a.png"]


def test_a_file_with_brackets_is_no_pattern(street):
    touch(street, "x[1].png")
    assert [image.path.name for image in find_images(["street/x[1].png"], Path("out"))[0]] == ["x[1].png"]


@pytest.mark.parametrize("pattern", ["street/none.png", "street/*.gif", "nowhere", "street/empty"])
def test_nothing_found_is_an_error_that_names_the_argument(street, pattern):
    (street / "empty").mkdir()
    with pytest.raises(DataError, match="no image there") as refused:
        find_images(["street/a.png", pattern], Path("out"))
    assert pattern in str(refused.value)


@pytest.mark.parametrize("given", ["street", "street/**", "street/*"])
def test_predictions_of_an_earlier_call_are_no_images(street, given):
    touch(street, "out/a.png", "out/a_color.png")
    images, left_out = find_images([given], street / "out")
    assert [image.name for image in images] == ["a.png", "b.JPG", "deep/c.pgm"] and left_out.own_output == 2
    assert "2 files in the output folder" in str(left_out)
    assert len(find_images(["street/out"], street / "out")[0]) == 2


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["s"], ["a", "b", "t_c"]),
        (["s/*.png"], ["a", "b"]),
        (["s/**/*.png"], ["a", "b", "t_c"]),
        (["s/t"], ["c"]),
        (["s", "other"], ["s_a", "b", "t_c", "other_a"]),
        (["s/a.png", "other/a.jpg"], ["a.png", "a.jpg"]),
        (["one/day", "two/day"], ["day_x", "day_x_2"]),
        (["kinds"], ["k.jpg", "k.png"]),
        (["colors"], ["c", "c_color_2", "c_color_overlay"]),
        (["joined"], ["p_q", "p_q_2"]),
    ],
)
def test_no_two_predictions_share_a_file(tmp_path, monkeypatch, arguments, names):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "s/a.png", "s/b.png", "s/t/c.png", "other/a.png", "other/a.jpg", "one/day/x.png", "two/day/x.png")
    touch(tmp_path, "kinds/k.jpg", "kinds/k.png", "colors/c.jpg", "colors/c_color.jpg", "colors/c_color_overlay.jpg")
    touch(tmp_path, "joined/p/q.png", "joined/p_q.png")
    if arguments == ["s", "other"]:
        Path("other/a.jpg").unlink()
    assert output_names(find_images(arguments, Path("out"))[0], ENDINGS) == names


@pytest.mark.parametrize(
    ("lines", "selected"),
    [
        ("a", ["s/a.png", "s/t/a.jpg"]),
        ("a.png", ["s/a.png"]),
        ("t/a", ["s/t/a.jpg"]),
        ("s/t/a.jpg", ["s/t/a.jpg"]),
        ("frame_1.5\n\n", ["s/frame_1.5.png"]),
        ("my picture \r\nframe_1", ["s/frame_1.png", "s/my picture.png"]),
        ("\ufeff" + DECOMPOSED, [f"s/{COMPOSED}.png"]),
    ],
)
def test_a_list_selects_by_name_or_path(tmp_path, lines, selected):
    files = ["s/a.png", "s/frame_1.5.png", "s/frame_1.png", "s/my picture.png", "s/t/a.jpg", f"s/{COMPOSED}.png"]
    images = [Input(Path(file), Path("s")) for file in files]
    (tmp_path / "only.txt").write_text(lines, encoding="utf-8")
    assert [image.path.as_posix() for image in select(images, tmp_path / "only.txt")] == selected


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("a\nb\nc", "lists b, which is not among the pictures (nor are 1 others)"),
        ("old/a.jpg b", "lists old/a.jpg b, which is not among the pictures; write 'a' in place of"),
        (" \n", "names no pictures"),
    ],
)
def test_a_list_that_does_not_fit(tmp_path, lines, said):
    (tmp_path / "only.txt").write_text(lines)
    with pytest.raises(DataError) as refused:
        select([Input(Path("s/a.png"), Path("s"))], tmp_path / "only.txt")
    assert str(refused.value).startswith(str(tmp_path / "only.txt")) and said in str(refused.value)


# The command


def write_model(directory: Path, classes: Classes) -> Path:
    torch.manual_seed(0)
    network = RefineNet("resnet18", None, classes=len(classes), width=4, deepest_width=4, decoder_init="scaled").eval()
    write_model_directory(directory, network, classes)
    return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    classes = Classes(("a", "b", "c"), ((0, 0, 0), (99, 0, 0), (0, 99, 0)))
    return write_model(tmp_path_factory.mktemp("own") / "model", classes)


@pytest.fixture(scope="module")
def voc_model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("voc") / "model", VOC2012.classes)


def draw(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (40, 50, 3), np.uint8)).save(folder / name)


def predict(*arguments) -> None:
    main(["predict", *map(str, arguments), "--device=cpu"])


def refusal(*arguments) -> str:
    with pytest.raises(SystemExit) as ended:
        predict(*arguments)
    return ended.value.code


def listed(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_everything_in_a_folder_is_predicted_and_the_rest_is_said(tmp_path, model, capsys):
    draw(tmp_path, "in/x.png", "in/sub/x.pgm", "in/x_color.png")
    touch(tmp_path, "in/._x.png", "in/notes.txt", "in/.cache/y.png")
    predict(tmp_path / "in", "--ckpt_path", model, "--output", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "left out: 1 hidden file, 1 hidden folder, 1 file of another type (.txt)\n" in printed
    assert "named otherwise, because images would share a file" in printed and "x_color.png as x_color_2\n" in printed
    assert printed.endswith(f"3 images segmented into {tmp_path / 'out'}\n")
    names = sorted(f"{name}{ending}.png" for name in ("x", "sub_x", "x_color_2") for ending in ENDINGS)
    assert listed(tmp_path / "out") == names


def test_nothing_is_overwritten_unless_asked_for(tmp_path, model):
    draw(tmp_path, "in/x.png", "in/y.png")
    arguments = tmp_path / "in", "--ckpt_path", model, "--output", tmp_path / "out"
    predict(*arguments)
    (tmp_path / "out/x.png").write_bytes(b"mine")
    said = refusal(tmp_path / "in", "--ckpt_path", "none", "--output", tmp_path / "out")
    assert f"{tmp_path / 'out/x.png'} (and 5 more files): would be overwritten" in said and "--overwrite" in said
    predict(*arguments, "--overwrite")
    assert Image.open(tmp_path / "out/x.png").size == (50, 40)


@pytest.mark.parametrize("name", ["x.png", "y_color.png"])
def test_images_are_not_overwritten_by_their_predictions(tmp_path, name):
    draw(tmp_path, "in/x.png", "in/y.jpg", "in/y_color.png", "in/z.png")
    (tmp_path / "link").symlink_to("in")
    arguments = tmp_path / "in" / name, tmp_path / "in/y.jpg", "--ckpt_path=none", "--output", tmp_path / "link", "--overwrite"
    assert f"in/{name}: a prediction would be written over this picture" in refusal(*arguments)


def test_an_image_that_cannot_be_read_is_reported_at_the_end(tmp_path, model, capsys):
    draw(tmp_path, "in/a.png", "in/c.png")
    (tmp_path / "in/b.png").write_bytes(b"not an image")
    said = refusal(tmp_path / "in", "--ckpt_path", model, "--output", tmp_path / "out")
    assert said.startswith("error: 1 of 3 images could not be predicted:\n- ") and f"{tmp_path / 'in/b.png'}: " in said
    assert len(listed(tmp_path / "out")) == 6 and "2 images segmented into" in capsys.readouterr().out


def test_an_output_folder_that_is_a_file(tmp_path):
    draw(tmp_path, "in/a.png")
    touch(tmp_path, "out")
    said = refusal(tmp_path / "in", "--ckpt_path=none", "--output", tmp_path / "out/deep")
    assert said.startswith(f"error: {tmp_path / 'out'}: is a file, but")


def test_a_name_that_is_too_long_for_its_predictions(tmp_path):
    draw(tmp_path, "in/a.png", f"in/{'b' * 240}.png")
    assert "its name is too long" in refusal(tmp_path / "in", "--ckpt_path=none", "--output", tmp_path / "out")


def test_paths_of_all_options_are_expanded(tmp_path, model, monkeypatch):
    draw(tmp_path, "in/a.png", "in/b.png")
    (tmp_path / "only.txt").write_text("b")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("MODEL", str(model))
    monkeypatch.setenv("HOME", str(tmp_path))
    predict("$HERE/in", "--ckpt_path=$MODEL", "--output=~/out", "--only=~/only.txt")
    assert listed(tmp_path / "out") == ["b.png", "b_color.png", "b_overlay.png"]
    for arguments in (
        ["$NOT_SET/in"],
        ["~/in", "--only=$NOT_SET"],
        ["~/in", "--output=$NOT_SET"],
        ["~/in", "--ckpt_path=$NOT_SET"],
    ):
        assert "environment variable NOT_SET is not set" in refusal("--ckpt_path=~/none", "--output=~/new", *arguments)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:1", "tpu", ""])
def test_a_device_that_is_not_there(device, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(tmp_path), "--ckpt_path=none", f"--device={device}"])
    assert ended.value.code.startswith(f"error: --device {device}: torch finds no such device here; choose from ")
    assert "cpu" in ended.value.code and "\n" not in ended.value.code


class Greedy(torch.nn.Module):
    """A network that wants more memory than any machine has for images wider than 40 pixels."""

    def forward(self, x):
        if x.shape[-1] > 40:
            torch.empty(1 << 60)
        return torch.cat([x, -x], 1)


def test_an_image_that_does_not_fit_into_the_memory(tmp_path):
    draw(tmp_path, "large.png")
    Image.new("RGB", (30, 20)).save(tmp_path / "small.png")
    task, failures = SegmentationTask(Greedy(), 6).eval(), []
    inputs = [Input(tmp_path / name, tmp_path) for name in ("large.png", "small.png")]
    predicted = list(segment(task, task.training_inference, inputs, failures))
    assert [index for index, _, _ in predicted] == [1] and predicted[0][2].shape == (20, 30)
    assert len(failures) == 1 and f"{tmp_path / 'large.png'}: this image of 50x40 does not fit into the memory" in failures[0]
    assert "--tile" in failures[0]


@pytest.mark.parametrize("names", [["a b", "a-b", "A b"], ["x/y", "x y"], [COMPOSED, DECOMPOSED]])
def test_no_two_samples_of_a_run_share_a_file(tmp_path, names):
    pixels = np.zeros((4, 5), np.uint8)
    samples = [Sample(name, np.zeros((4, 5, 3), np.uint8), pixels, pixels) for name in names]
    write_samples(tmp_path, samples, Classes(("a", "b"), ((0, 0, 0), (9, 9, 9))))
    assert len(listed(tmp_path)) == 3 * len(names)


def test_an_export_does_not_overwrite(tmp_path, model):
    touch(tmp_path, "x.onnx")
    with pytest.raises(SystemExit, match=r"x\.onnx: would be overwritten; .*--overwrite"):
        main(["export", str(tmp_path / "none"), "--to=onnx", f"--output={tmp_path / 'x.onnx'}"])
    with pytest.raises(SystemExit, match=r"x\.onnx: is the model itself"):
        main(["export", str(tmp_path / "x.onnx"), "--to=onnx", f"--output={tmp_path / 'x.onnx'}", "--overwrite"])
    with pytest.raises(SystemExit, match="environment variable NOT_SET is not set"):
        main(["export", "$NOT_SET/model", "--to=onnx"])


@pytest.mark.parametrize(
    ("given", "output"),
    [("run/last.ckpt", "run/last.onnx"), ("net_1.5", "net_1.5.onnx"), ("net_1.5/", "net_1.5.onnx"), (".", "../here.onnx")],
)
def test_an_export_is_called_like_its_model(tmp_path, monkeypatch, given, output):
    (tmp_path / "here/net_1.5").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert default_output(Path(given), "onnx").resolve() == Path(output).resolve()


# Submissions


def test_a_submission_has_one_mask_for_each_name(tmp_path):
    draw(tmp_path, "day/a.png", "night/a.png")
    said = refusal(tmp_path, "--ckpt_path=none", "--output", tmp_path / "out", "--submission=voc")
    assert f"{tmp_path / 'night/a.png'}: another image is called a too" in said


def test_a_submission_holds_nothing_of_another(tmp_path, voc_model):
    draw(tmp_path, "in/a.png", "in/b.png")
    options = "--ckpt_path", voc_model, "--output", tmp_path / "out", "--submission=voc"
    predict(tmp_path / "in/a.png", *options)
    assert "would be overwritten" in refusal(tmp_path / "in/a.png", *options)
    predict(tmp_path / "in/a.png", *options, "--overwrite")
    said = refusal(tmp_path / "in/b.png", *options, "--overwrite")
    assert "a.png: would be packed with these predictions" in said


def test_an_incomplete_submission_is_not_packed(tmp_path, voc_model):
    draw(tmp_path, "in/a.png")
    touch(tmp_path, "in/b.png")
    said = refusal(tmp_path / "in", "--ckpt_path", voc_model, "--output", tmp_path / "out", "--submission=voc")
    assert "1 of 2 images could not be predicted; voc2012.tar.gz is not packed" in said and "b.png: " in said
    assert not (tmp_path / "out/voc2012.tar.gz").exists()
