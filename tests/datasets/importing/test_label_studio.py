"""Label Studio: several annotators, shapes, and separate tags for shapes and labels."""

import numpy as np
import pytest
from helpers.annotation_files import HEIGHT, WIDTH, label_studio, result, write_json
from helpers.importing import masks

from refinenet_pl.datasets.importing.annotations import Options
from refinenet_pl.datasets.importing.label_studio import read


def test_annotators_and_shapes(tmp_path):
    source = label_studio(tmp_path / "in", ["a"])
    corner = {"x": 50, "y": 50, "width": 25, "height": 12.5, "rotation": 90, "labels": ["car"]}
    ellipse = {"x": 50, "y": 25, "radiusX": 12.5, "radiusY": 12.5, "rotation": 0, "ellipselabels": ["car"]}
    results = [result("rectangle", {}, id="1"), result("labels", corner, id="1"), result("ellipselabels", ellipse)]
    results += [result("choices", {}), result("polygon", {}, id="2")]
    annotations = [
        {"result": results, "updated_at": "2024-05-02T10:00:00Z"},
        {"result": [], "updated_at": "2024-05-01T10:00:00Z"},
        {"result": [], "was_cancelled": True, "updated_at": "2024-05-03T10:00:00Z"},
    ]
    tasks = [{"id": 1, "data": {"text": "a", "picture": "/data/local-files/?d=far%20away/a.jpg"}, "annotations": annotations}]
    write_json(source, [*tasks, {"id": 2, "data": {}, "annotations": []}])
    found = read(source, Options())
    assert sorted(found.notes) == [
        "annotations left out because their tasks have others (ground truth, or changed later): 1",
        "regions left out because they have no label: 1",
        "results of the type choices, left out because they have no area: 1",
        "tasks left out because they are not annotated: 1",
    ]
    (mask,) = masks(found, tmp_path / "out")
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[8:14, 10:12] = 1  # 6x2 pixels, turned around the upper left corner (12, 8)
    assert np.array_equal(mask[8:], expected[8:]) and mask[:8].sum() == pytest.approx(np.pi * 6, abs=2) and mask[4, 9:15].all()
    annotations[1]["ground_truth"] = True
    write_json(source, tasks)
    assert read(source, Options()).images[0].regions == []
