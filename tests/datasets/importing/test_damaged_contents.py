"""Errors about the contents of annotation files name the file, the place in it, and the problem."""

import pytest
from helpers.annotation_files import BUILDERS, FILES, change

from refinenet_pl.cli.data_import import READERS
from refinenet_pl.datasets.importing.annotations import Options
from refinenet_pl.datasets.importing.writer import write
from refinenet_pl.errors import DataError

# Format, text that occurs in its files, replacement, and message.
PROBLEMS = [
    ("coco", '"category_id": 3', '"category_id": 2', "annotation 1: there is no category with the id 2"),
    ("coco", '"image_id": 5', '"image_id": 7', "annotation 9: there is no image with the id 7"),
    ("coco", '"categories"', '"kategories"', "the key 'categories' is missing"),
    ("coco", '"name": "car"', '"name": "road"', "two classes have the name 'road'"),
    ("coco", '{"id": 3, "name": "car"', '{"id": 1, "name": "car"', "two categories have the id 1"),
    ("coco", '{"id": 2, "file_name": "b.jpg"', '{"id": 1, "file_name": "b.jpg"', "two images have this id"),
    ("coco", '"file_name": "b.jpg"', '"file_name": "a.jpg"', "image 2: its image .* would both be named a"),
    ("coco", "[[2, 4, 22, 4, 22, 14, 2, 14]]", "[[2, 4, 22, 4]]", "annotation 2: a polygon with 2 points has no area"),
    ("coco", "[[2, 4, 22, 4, 22, 14, 2, 14]]", "[[2, 4, 22, 4, 22, 14, 2]]", "annotation 2: .*an even number"),
    ("coco", "[[2, 4, 22, 4, 22, 14, 2, 14]]", "[]", "annotation 2: has no mask"),
    ("coco", "22, 4, 22, 14", 'NaN, 4, "x", 14', "annotation 2: nan is not a number"),
    ("coco", '"size": [16, 24]', '"size": [24, 16]', r"\[height, width\] \[24, 16\], but its image is 24x16"),
    ("coco", '{"counts": [', '{"counts": [1, ', "annotation 1: the run lengths cover 385 pixels, but the mask has 384"),
    ("coco", '"width": 24', '"width": 0', "image 1: 0x16 is not an image size"),
    ("yolo", "1 0.25", "2 0.25", "e.txt:2: 2 is not a class number; there are the classes 0 to 1"),
    ("yolo", "1 0.25 0.375 0.5 0.375 0.5 0.75 0.25 0.75", "1 0.25 0.375 0.5 0.375", "e.txt:2: is a box"),
    ("yolo", "0.25 0.75", "0.25", "e.txt:2: has an odd number"),
    ("yolo", "0.5 0.375", "12 6", "e.txt:2: 12 is not a share of the size"),
    ("labelme", '"shapes"', '"shape"', "c.json: the key 'shapes' is missing"),
    ("labelme", '"label": "car"', '"label": 7', "shape 2: label must be a text, not 7"),
    ("labelme", '"shape_type": "rectangle"', '"shape_type": "cube"', "shape 2: the shape type 'cube' is unknown"),
    ("labelme", '"shape_type": "rectangle"', '"shape_type": "polygon"', "shape 2: a polygon with 2 points"),
    ("labelme", '"imageHeight": 16', '"imageHeight": "high"', "height: 'high' is not a number"),
    ("cvat", 'label="car"', 'label="cart"', r"image a.jpg: shape 2 \(mask\): the label 'cart' is not among those"),
    ("cvat", 'rle="2, 32, 2"', 'rle="2, 33, 2"', r"image a.jpg: shape 2 \(mask\): the run lengths cover 37 pixels"),
    ("cvat", 'left="6" top="6"', 'left="20" top="6"', "6x6 mask at .20, 6. exceeds the 24x16 image"),
    ("cvat", ' xbr="8.00"', "", "the attribute 'xbr' of <box> is missing"),
    ("cvat", "22.00,4.00;22.00,14.00;", "", "a polygon with 2 points"),
    ("cvat", '<image id="0"', '<track id="0"/><image id="0"', "contains tracks"),
    ("cvat", "<name>car", "<name>road", "two classes have the name 'road'"),
    ("label_studio", '"annotations"', '"label"', "task 1: the key 'annotations' is missing"),
    ("label_studio", '"data"', '"image"', "task 1: .*JSON-MIN"),
    ("label_studio", '["road"]', '["road", "car"]', "task 1: result 1: has 2 labels"),
    ("label_studio", '"image_rotation": 0', '"image_rotation": 90', "result 1: was made on an image rotated"),
    ("label_studio", '"original_width": 24', '"original_width": 48', "result 2: is for 24x16, but others"),
    ("label_studio", '"rle": [0', '"rle": ["0"', "result 2: "),
    ("label_studio", "a.jpg", "a", "task 1: its data name no image"),
]


@pytest.mark.parametrize(("kind", "old", "new", "problem"), PROBLEMS)
def test_damaged_contents(kind, old, new, problem, tmp_path):
    source = BUILDERS[kind](tmp_path / "in")
    change(tmp_path / "in" / FILES[kind], old, new)
    with pytest.raises(DataError, match=problem) as refused:
        write(READERS[kind](source, Options()), tmp_path / "out")
    assert str(tmp_path / "in") in str(refused.value) and not (tmp_path / "out").exists()
