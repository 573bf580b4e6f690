"""Table, CSV file and confusion matrix of an evaluation."""

import csv

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from refinenet_pl.metrics.confusion import scores
from refinenet_pl.visualization.scores import per_class_table, plot_confusion, save_scores

NAMES = ["sky", "road", "car"]
CONFUSION = np.array([[60, 20, 0, 20], [0, 50, 50, 0], [0, 0, 0, 0]])  # no car; the last column is void


@pytest.fixture
def evaluation() -> dict:
    return scores(CONFUSION, NAMES, labeled_only=True).to_dict()


def test_table(evaluation):
    rows = [line.split() for line in per_class_table(evaluation).splitlines()]
    assert rows[2:] == [
        ["sky", "60.0", "-", "60.0", "50.0"],
        ["road", "41.7", "-", "50.0", "50.0"],
        ["car", "-", "-", "-", "0.0"],
        ["mean", "50.8", "-", "55.0"],
        ["all", "pixels", "55.0", "100.0"],
    ]
    evaluation |= {"boundary_miou": 0.375, "boundary_iou": {"sky": 0.5, "road": 0.25, "car": None}}
    rows = [line.split() for line in per_class_table(evaluation).splitlines()]
    assert [row[2] for row in rows[2:6]] == ["50.0", "25.0", "-", "37.5"]


def test_csv_has_exact_fractions(evaluation, tmp_path):
    table, figure = save_scores(tmp_path / "new" / "test", evaluation)
    assert table == tmp_path / "new" / "test.csv" and figure == tmp_path / "new" / "test-confusion.png"
    rows = list(csv.DictReader(table.open()))
    assert [row["class"] for row in rows] == NAMES
    assert float(rows[1]["iou"]) == 50 / 120 and float(rows[1]["share_of_pixels"]) == 0.5
    assert rows[2] == {"class": "car", "iou": "", "boundary_iou": "", "accuracy": "", "share_of_pixels": "0.0"}
    with Image.open(figure) as image:
        assert image.width > 300 and len(image.convert("RGB").getcolors(1 << 24)) > 50


def test_failed_writing_keeps_the_old_files(evaluation, tmp_path, monkeypatch):
    files = save_scores(tmp_path / "test", evaluation)
    before = [file.read_bytes() for file in files]

    def fail(figure, stream, **_options):
        stream.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="No space left"):
        save_scores(tmp_path / "test", evaluation)
    assert [file.read_bytes() for file in files] == before and set(tmp_path.iterdir()) == set(files)


def test_confusion_figure(evaluation):
    axis, bar = plot_confusion(evaluation).axes
    assert np.array_equal(axis.images[0].get_array(), CONFUSION)
    assert [label.get_text() for label in axis.get_xticklabels()] == [*NAMES, "void"]
    assert [label.get_text() for label in axis.get_yticklabels()] == NAMES
    assert sorted(text.get_text() for text in axis.texts) == ["20", "20", "50", "50", "60"]
    assert bar.get_ylabel() == "% of the class's pixels"


def test_confusion_figure_of_150_classes():
    counts = np.random.default_rng(0).integers(0, 9, (150, 150))
    figure = plot_confusion(scores(counts, [f"class {i}" for i in range(150)]).to_dict())
    assert not figure.axes[0].texts and max(figure.get_size_inches()) < 12
