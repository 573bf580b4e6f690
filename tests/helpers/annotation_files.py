"""The same scene as files of each annotation format, as its tool exports them."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from helpers.image_files import pack
from helpers.layouts.files import write_lines, write_photo

WIDTH, HEIGHT = 24, 16
STEMS = ("a", "b", "c", "d", "e")
ROAD = [[2, 4], [22, 4], [22, 14], [2, 14]]
CAR = [[6, 6], [12, 6], [12, 12], [6, 12]]


def scene() -> np.ndarray:
    """Ids of background, road and car in each image, uint8 (height, width)."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:14, 2:22] = 1
    mask[6:12, 6:12] = 2
    return mask


def runs(mask: np.ndarray) -> list[int]:
    """Lengths of alternating runs, the first one of False."""
    changes = np.flatnonzero(np.diff(mask.ravel(), prepend=False))
    return np.diff(changes, prepend=0, append=mask.size).tolist()


def pack_brush(mask: np.ndarray) -> list[int]:
    """Encode a mask as a brush of Label Studio: runs with 16-bit lengths, except for the first pixel, which is not repeated."""
    values = np.repeat(mask.ravel() * 255, 4).tolist()
    fields = [(len(values), 32), (7, 5), (2, 4), (3, 4), (7, 4), (15, 4), (0, 1), (0, 2), (3, 3), *((v, 8) for v in values[:4])]
    lengths = runs(mask.ravel()[1:])
    for index, length in enumerate(lengths):
        fields += [(1, 1), (3, 2), (4 * length - 1, 16), (255 * (index % 2), 8)] if length else []
    bits = [int(bit) for value, size in fields for bit in f"{value:0{size}b}"]
    return list(pack(bits, 1))


def coco(folder: Path, stems: Iterable[str] = STEMS) -> Path:
    """Write polygons of the road, and run lengths of the car, to `annotations/instances.json`; images in `images`."""
    car = runs((scene() == 2).T)
    images, annotations = [], []
    for number, stem in enumerate(stems, start=1):
        write_photo(folder / f"images/{stem}.jpg", (HEIGHT, WIDTH))
        images.append({"id": number, "file_name": f"{stem}.jpg", "width": WIDTH, "height": HEIGHT})
        polygon, mask = [np.ravel(ROAD).tolist()], {"counts": car, "size": [HEIGHT, WIDTH]}
        for category, segmentation in (3, mask), (1, polygon):
            common = {"id": len(annotations) + 1, "image_id": number, "iscrowd": 0}
            annotations.append({**common, "category_id": category, "segmentation": segmentation})
    categories = [{"id": 1, "name": "road", "supercategory": ""}, {"id": 3, "name": "car", "supercategory": ""}]
    file = folder / "annotations/instances.json"
    return write_json(file, {"images": images, "annotations": annotations, "categories": categories})


def yolo(folder: Path, stems: Iterable[str] = STEMS) -> Path:
    """Write `data.yaml`, with the last image in val, and the labels in `labels`; returns the folder."""
    *train, last = stems
    for split, names in ("train", train), ("val", [last]):
        for stem in names:
            write_photo(folder / f"images/{split}/{stem}.jpg", (HEIGHT, WIDTH))
            shares = [np.ravel(np.array(shape) / (WIDTH, HEIGHT)) for shape in (ROAD, CAR)]
            lines = [" ".join(map(str, [label, *values])) for label, values in enumerate(shares)]
            write_lines(folder / f"labels/{split}/{stem}.txt", lines)
    write_lines(folder / "data.yaml", ["train: images/train", "val: images/val", "nc: 2", "names: {0: road, 1: car}"])
    return folder


def labelme(folder: Path, stems: Iterable[str] = STEMS) -> Path:
    """Write an image and a JSON file for each stem; returns the folder."""
    for stem in stems:
        write_photo(folder / f"{stem}.jpg", (HEIGHT, WIDTH))
        shapes = [shape("road", ROAD), shape("car", [CAR[2], CAR[0]], "rectangle")]
        sizes = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
        write_json(folder / f"{stem}.json", {"shapes": shapes, "imagePath": f"{stem}.jpg", "imageData": None, **sizes})
    return folder


def shape(label: str, points: list, kind: str = "polygon", **more: object) -> dict:
    """A shape of labelme."""
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def cvat(folder: Path, stems: Iterable[str] = STEMS, shapes: str = "") -> Path:
    """Write `annotations.xml` and `images`; `shapes` are additional elements of each image."""
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in ROAD)
    both = f"""
    <polygon label="road" source="manual" occluded="0" points="{points}" z_order="0"></polygon>
    <mask label="car" source="manual" occluded="0" rle="2, 32, 2" left="6" top="6" width="6" height="6" z_order="0"></mask>
    <box label="car" source="manual" occluded="0" xtl="6.00" ytl="6.00" xbr="8.00" ybr="7.00" z_order="0"></box>
    <box label="car" source="manual" occluded="0" xtl="10.00" ytl="11.00" xbr="12.00" ybr="12.00" z_order="0"></box>{shapes}"""
    images = ""
    for number, stem in enumerate(stems):
        write_photo(folder / f"images/{stem}.jpg", (HEIGHT, WIDTH))
        images += f'<image id="{number}" name="{stem}.jpg" width="{WIDTH}" height="{HEIGHT}">{both}</image>\n'
    label = "<label><name>{}</name><color>{}</color><type>any</type><attributes></attributes></label>"
    labels = label.format("road", "#804080") + label.format("car", "#00008e")
    meta = f"<meta><task><id>1</id><mode>annotation</mode><labels>{labels}</labels></task></meta>"
    write_lines(folder / "annotations.xml", [f"<annotations><version>1.1</version>{meta}{images}</annotations>"])
    return folder / "annotations.xml"


def label_studio(folder: Path, stems: Iterable[str] = STEMS) -> Path:
    """Write `export.json` with a polygon, a rectangle and a brush, and `images`."""
    left = scene() == 2
    left[:, 9:] = False
    values = [
        ("polygonlabels", {"points": [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in ROAD], "closed": True}, "road"),
        ("brushlabels", {"format": "rle", "rle": pack_brush(left)}, "car"),
        ("rectanglelabels", {"x": 37.5, "y": 37.5, "width": 12.5, "height": 37.5, "rotation": 0}, "car"),
    ]
    tasks = []
    for number, stem in enumerate(stems, start=1):
        write_photo(folder / f"images/{stem}.jpg", (HEIGHT, WIDTH))
        results = [result(kind, {**value, kind: [label]}) for kind, value, label in values]
        annotation = {"id": number, "result": results, "was_cancelled": False, "ground_truth": False}
        task = {"id": number, "annotations": [annotation], "predictions": []}
        tasks.append({**task, "data": {"image": f"/data/upload/1/{stem}.jpg"}})
    return write_json(folder / "export.json", tasks)


def result(kind: str, value: dict, **more: object) -> dict:
    """A result of Label Studio."""
    sizes = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {**sizes, "value": value, "id": kind, "from_name": "label", "to_name": "image", "type": kind, **more}


def write_json(file: Path, content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def change(file: Path, old: str, new: str) -> None:
    """Replace the first occurrence of a text, which must occur."""
    text = file.read_text()
    assert old in text, f"{file} lacks {old}"
    file.write_text(text.replace(old, new, 1))


BUILDERS = {"coco": coco, "yolo": yolo, "labelme": labelme, "cvat": cvat, "label_studio": label_studio}
FILES = {"coco": "annotations/instances.json", "yolo": "labels/val/e.txt", "labelme": "c.json", "cvat": "annotations.xml"}
FILES["label_studio"] = "export.json"
"""A file of each format that contains annotations, relative to its folder."""
