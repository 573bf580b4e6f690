"""Class names of any characters and length: in legends, figures and tables."""

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
from refinenet_pl.visualization.scores import per_class_table, plot_confusion, save_scores

# Scripts that DejaVu Sans has, and characters with a meaning in formulas, formats, markup and file names.
NAMES = (
    "a $x_$ b", "$\\frac{1}{0}$", "one $", "_hidden", "__", "100%", "%s {x} {0}", "a/b\\c", "[red]x[/red]", 'say "a, b"',
    "two\nlines\t", "дорога", "Straße", "δρόμος", "طريق", "דרך", "-1", "nan", "\x1b[31mred", "#", "a" * 300,
)  # fmt: skip
CLASSES = Classes(NAMES, tuple((11 * index, 255 - 11 * index, 7) for index in range(len(NAMES))))
UNKNOWN = "\U000f1234"  # for private use, so that no installed font should have it


@pytest.fixture(autouse=True)
def no_search_results(monkeypatch):
    monkeypatch.setattr(fonts, "_found", {})


def legend_of(*names: str, width: int = 200) -> np.ndarray:
    classes = Classes(names, tuple((40 * index, 90, 200) for index in range(len(names))))
    return legend((100, width), np.arange(len(names)), classes)


@pytest.mark.parametrize("width", [1, 5, 48, 640])
def test_legend_has_the_width_of_the_image_and_all_colors(width):
    pixels = legend((100, width), np.arange(255), CLASSES)
    assert pixels.dtype == np.uint8 and pixels.shape[1:] == (width, 3)
    if width > 20:
        assert all((pixels == color).all(2).any() for color in CLASSES.palette)


def test_long_names_are_wrapped():
    long = "a crossing for pedestrians and bicycles with lights, type "
    first, second = legend_of(long + "A", width=100), legend_of(long + "B", width=100)
    assert len(first) > 2 * len(legend_of("short")) and first.shape == second.shape and not np.array_equal(first, second)
    assert (first[:, -1] == 255).all()


def test_renders_names_of_any_script():
    for first, second in ("дорога", "машина"), ("طريق", "سيارة"):
        assert not np.array_equal(legend_of(first), legend_of(second))
    assert np.array_equal(legend_of("Käfer"), legend_of("Ka\u0308fer")), "two Unicode forms of a name"


def test_warns_once_about_characters_without_a_font():
    with pytest.warns(UserWarning, match=f"{UNKNOWN}.*fonts-noto-cjk"):
        legend_of("a", f"b{UNKNOWN}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        legend_of("a", f"b{UNKNOWN}")
        assert figure_names([f"b{UNKNOWN}"]) == [f"b{MISSING}"]
        assert find_fonts("".join(NAMES)) == {}


@pytest.mark.parametrize(("text", "script"), [("背景道路", "Chinese"), ("ถนน", "Thai"), ("도로", "Korean"), ("सड़क", "Hindi")])
def test_uses_installed_fonts(text, script, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if None in find_fonts(text).values():
            pytest.skip(f"no font for {script}; Debian has fonts-noto-cjk and fonts-noto-core")
        warnings.simplefilter("error")
        assert not np.array_equal(legend_of(f"{text} a"), legend_of(f"{text[::-1]} a"))
        figure = plot_confusion(scores(np.eye(2, dtype=int), [text, "a $x"]).to_dict())
        figure.savefig(tmp_path / "figure.png")
    assert figure.axes[0].get_yticklabels()[0].get_text() == text


def test_skips_damaged_fonts(tmp_path, monkeypatch):
    (tmp_path / "bad.ttf").write_bytes(b"no font")
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [str(tmp_path / "bad.ttf"), fonts.base_font()])
    with pytest.warns(UserWarning, match="no installed font"):
        assert find_fonts(f"a{UNKNOWN}") == {UNKNOWN: None}


class Named(SegmentationDataset):
    """A single sample with all classes."""

    title = "T $a_$"
    classes = CLASSES
    split_sizes = {"train": 1}
    source = license = "none"

    def __len__(self):
        return 1

    def name(self, index):
        return "_sample $x_$ 1"

    def read(self, index):
        mask = np.repeat(np.arange(len(NAMES), dtype=np.uint8)[:, None], 30, axis=1)
        return self.classes.colorize(mask), mask


EVALUATION = scores(np.random.default_rng(0).integers(0, 99, (len(NAMES), len(NAMES))), list(NAMES)).to_dict()
FIGURES = {"sample": lambda: plot_sample(Named(None, "train"), 0), "sheet": lambda: sheet(Named(None, "train"))}
FIGURES |= {"confusion": lambda: plot_confusion(EVALUATION)}


@pytest.mark.parametrize("kind", FIGURES)
@pytest.mark.parametrize("tex", [False, True])
@pytest.mark.filterwarnings("error::UserWarning")
def test_figures_show_names_literally(kind, tex, tmp_path, monkeypatch):
    monkeypatch.setitem(fonts.matplotlib.rcParams, "text.usetex", tex)
    figure = FIGURES[kind]()
    figure.savefig(tmp_path / "figure.png")
    shown = {text.get_text() for text in figure.findobj(Text) if text.get_visible()}
    expected = {name for name in NAMES if len(name) < 20} - {"two\nlines\t", "\x1b[31mred"} | {"two lines", "[31mred"}
    assert expected <= shown and max(map(len, shown - {figure.get_suptitle()})) < 60
    assert Image.open(tmp_path / "figure.png").width > 300


def test_tables_show_names_in_one_line(tmp_path):
    printed = per_class_table(EVALUATION)
    lines = printed.splitlines()
    assert len(lines) == len(NAMES) + 4 and "\x1b" not in printed and max(map(len, lines)) < 120
    assert any(line.startswith("two lines ") for line in lines) and any(line.startswith("-1 ") for line in lines)
    save_scores(tmp_path / "test", EVALUATION)
    with (tmp_path / "test.csv").open(newline="", encoding="utf-8") as stream:
        assert [row["class"] for row in csv.DictReader(stream)] == list(NAMES)


def test_shorten_and_one_line():
    for name, short in {"abc": "abc", "abcdefg": "ab…fg", "type A of B": "ty…B"}.items():
        assert shorten(name, 5) == short
    assert shorten("abcdefg", 6) == "abc…fg"
    assert one_line(" a\r\n b\u2028\x00c\x1b[0m\u3000d\udcff ") == f"a b c [0m d{MISSING}"


def test_names_of_a_classes_file(tmp_path):
    names = ["a $x_$ b", "_hidden", "100%", "a, b", "yes", "背景", "🚗", "Ka\u0308fer", "[x]", "{y: 1}"]
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"names": names}, allow_unicode=True), encoding="utf-8")
    assert list(read_classes(tmp_path / "classes.yaml").classes.names) == [*names[:7], "Käfer", *names[8:]]
