"""Class names of any characters and length: in the legend of predictions, in figures and in tables."""

import csv
import warnings

import numpy as np
import pytest
import yaml
from matplotlib.text import Text
from PIL import Image

from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.classes_file import read_classes
from refinenet_pl.metrics.confusion import scores
from refinenet_pl.visualization import fonts
from refinenet_pl.visualization.contact_sheet import sheet
from refinenet_pl.visualization.fonts import MISSING, figure_names, find_fonts, one_line, shorten
from refinenet_pl.visualization.legend import legend
from refinenet_pl.visualization.samples import plot_sample
from refinenet_pl.visualization.scores import draw_confusion, per_class_table, save_scores

# In every script that DejaVu Sans has, with the marks of formulas, formats, markup and file names.
NAMES = (
    "a $x_$ b", "$\\frac{1}{0}$", "one $", "_hidden", "__", "100%", "%s {x} {0}", "a/b\\c", "[red]x[/red]", 'say "a, b"',
    "two\nlines\t", "дорога", "Straße", "δρόμος", "طريق", "דרך", "-1", "nan", "\x1b[31mred", "#", "a" * 300,
)  # fmt: skip
CLASSES = Classes(NAMES, tuple((11 * index, 255 - 11 * index, 7) for index in range(len(NAMES))))
# In private use: no font of a system should have it.
NOWHERE = "\U000f1234"


@pytest.fixture(autouse=True)
def nothing_found_before(monkeypatch):
    monkeypatch.setattr(fonts, "_found", {})


def strip_of(*names: str, width: int = 200) -> np.ndarray:
    classes = Classes(names, tuple((40 * index, 90, 200) for index in range(len(names))))
    return legend((100, width), np.arange(len(names)), classes)


# Legends


@pytest.mark.parametrize("width", [1, 5, 48, 640])
def test_any_name_has_its_color_and_takes_the_width_of_the_image(width):
    strip = legend((100, width), np.arange(255), CLASSES)
    assert strip.dtype == np.uint8 and strip.shape[1:] == (width, 3)
    if width > 20:
        assert all((strip == color).all(2).any() for color in CLASSES.palette)


def test_a_long_name_is_wrapped_and_stays_legible_to_its_end():
    long = "a crossing for pedestrians and bicycles with lights, type "
    one, other = strip_of(long + "A", width=100), strip_of(long + "B", width=100)
    assert len(one) > 2 * len(strip_of("short")) and one.shape == other.shape and not np.array_equal(one, other)
    assert (one[:, -1] == 255).all(), "nothing reaches the edge"


def test_names_that_differ_look_different():
    assert not np.array_equal(strip_of("дорога"), strip_of("машина")) and not np.array_equal(
        strip_of("طريق"), strip_of("سيارة")
    )
    assert np.array_equal(strip_of("Käfer"), strip_of("Ka\u0308fer")), "the same name in two Unicode forms"


# Fonts


def test_characters_that_no_font_has_are_named_once():
    with pytest.warns(UserWarning, match=f"no installed font has the characters {NOWHERE}, .*fonts-noto-cjk"):
        strip_of("a", f"b{NOWHERE}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strip_of("a", f"b{NOWHERE}")
        assert figure_names([f"b{NOWHERE}"]) == [f"b{MISSING}"]


def test_no_warning_without_need():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_fonts("".join(NAMES)) == {}


@pytest.mark.parametrize(("text", "script"), [("背景道路", "Chinese"), ("ถนน", "Thai"), ("도로", "Korean"), ("सड़क", "Hindi")])
def test_an_installed_font_is_used(text, script, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if None in find_fonts(text).values():
            pytest.skip(f"no font for {script}; Debian has fonts-noto-cjk and fonts-noto-core")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = strip_of(f"{text} a"), strip_of(f"{text[::-1]} a")
        assert not np.array_equal(first, second)
        figure = draw_confusion(scores(np.eye(2, dtype=int), [text, "a $x"]).to_dict())
        figure.savefig(tmp_path / "figure.png")
    assert figure.axes[0].get_yticklabels()[0].get_text() == text


def test_damaged_fonts_are_passed_over(tmp_path, monkeypatch):
    (tmp_path / "bad.ttf").write_bytes(b"no font")
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [str(tmp_path / "bad.ttf"), fonts.base_font()])
    with pytest.warns(UserWarning, match="no installed font"):
        assert find_fonts(f"a{NOWHERE}") == {NOWHERE: None}


# Figures and tables


class Named(SegmentationDataset):
    """A sample in which every class occurs."""

    title = "T $a_$"
    classes = CLASSES
    split_sizes = {"train": 1}
    source = licence = "none"

    def __len__(self):
        return 1

    def name(self, index):
        return "_sample $x_$ 1"

    def read(self, index):
        mask = np.repeat(np.arange(len(NAMES), dtype=np.uint8)[:, None], 30, axis=1)
        return self.classes.colorize(mask), mask


def evaluation() -> dict:
    return scores(np.random.default_rng(0).integers(0, 99, (len(NAMES), len(NAMES))), list(NAMES)).to_dict()


FIGURES = {
    "plot": lambda: plot_sample(Named(None, "train"), 0),
    "sheet": lambda: sheet(Named(None, "train")),
    "confusion": lambda: draw_confusion(evaluation()),
}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
@pytest.mark.parametrize("tex", [False, True])
def test_figures_show_names_as_they_are(figure, tex, tmp_path, monkeypatch):
    monkeypatch.setitem(fonts.matplotlib.rcParams, "text.usetex", tex)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = figure()
        drawn.savefig(tmp_path / "figure.png")
    shown = {text.get_text() for text in drawn.findobj(Text) if text.get_visible()}
    expected = {name for name in NAMES if len(name) < 20} - {"two\nlines\t", "\x1b[31mred"} | {"two lines", "[31mred"}
    assert expected <= shown and max(map(len, shown - {drawn.get_suptitle()})) < 60
    assert Image.open(tmp_path / "figure.png").width > 300


def test_names_in_tables(tmp_path):
    printed = per_class_table(evaluation())
    lines = printed.splitlines()
    assert len(lines) == len(NAMES) + 4 and "\x1b" not in printed and max(map(len, lines)) < 120
    assert [line for line in lines if line.startswith("two lines ")] and [line for line in lines if line.startswith("-1 ")]
    save_scores(tmp_path / "test", evaluation())
    with (tmp_path / "test.csv").open(newline="", encoding="utf-8") as stream:
        assert [row["class"] for row in csv.DictReader(stream)] == list(NAMES)


@pytest.mark.parametrize(
    ("name", "length", "short"),
    [("abc", 3, "abc"), ("abcdefg", 5, "ab…fg"), ("abcdefg", 6, "abc…fg"), ("type A of many B", 9, "type…ny B")],
)
def test_long_names_lose_their_middle(name, length, short):
    assert shorten(name, length) == short and len(short) <= length


def test_one_line():
    assert one_line(" a\r\n b\u2028\x00c\x1b[0m\u3000d\udcff ") == f"a b c [0m d{MISSING}"


def test_names_of_a_classes_file(tmp_path):
    names = ["a $x_$ b", "_hidden", "100%", "a, b", "yes", "背景", "🚗", "Ka\u0308fer", "[x]", "{y: 1}"]
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"names": names}, allow_unicode=True), encoding="utf-8")
    assert list(read_classes(tmp_path / "classes.yaml").classes.names) == [*names[:7], "Käfer", *names[8:]]
