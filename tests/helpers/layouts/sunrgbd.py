"""SUN RGB-D: one folder per sample, and the toolbox's lists, metadata and HDF5 file of masks."""

from pathlib import Path

import numpy as np
import scipy.io

from helpers.layouts.files import generator, write_photo
from helpers.matlab import cell, matlab73, references, struct_array

AUTHORS_DISK = "/n/fs/sun3d/data/SUNRGBD"
# Folder, image and size (height, width), in the order of SUNRGBDMeta.
SAMPLES = (
    ("kv2/kinect2data/000002_2014-05-26_14-23-37_260595134347_rgbf000103-resize", "0000103.jpg", (60, 80)),
    ("kv1/NYUdata/NYU0001", "NYU0001.jpg", (56, 90)),
    ("kv1/b3dodata/img_0063", "img_0063.jpg", (60, 80)),
    ("realsense/lg/2014_10_21-18_16_12-1311000073", "0000000.jpg", (54, 96)),
    ("xtion/sun3ddata/brown_bm_1/brown_bm_1/0000001-000000033369", "0000001-000000033369.jpg", (72, 64)),
    ("xtion/xtion_align_data/2014_12_18-10_52_57-1311000073", "0000017.jpg", (60, 80)),
)
FOLDERS = [folder for folder, _, _ in SAMPLES]
NAMES = [folder.replace("/", "-") for folder in FOLDERS]
PATHS = [f"{AUTHORS_DISK}/{folder}/image/{image}" for folder, image, _ in SAMPLES]
# Positions in SAMPLES, in the order of allsplit.mat.
TRAIN, TEST = (4, 0, 3), (5, 1)
SPLITS = {"train": [NAMES[index] for index in TRAIN], "test": [NAMES[index] for index in TEST]}


def labels_of(name: str) -> np.ndarray:
    """Official classes, uint8: 1 to 37, and 0 for unlabeled pixels."""
    return generator(name).integers(0, 38, SAMPLES[NAMES.index(name)][2], np.uint8)


def mask_of(name: str) -> np.ndarray:
    labels = labels_of(name).astype(int)
    return np.where(labels == 0, 255, labels - 1)


def image_path(name: str) -> str:
    folder, image, _ = SAMPLES[NAMES.index(name)]
    return f"SUNRGBD/{folder}/image/{image}"


def build(root: Path) -> None:
    for name, (_, _, size) in zip(NAMES, SAMPLES, strict=True):
        write_photo(root / image_path(name), size)
    for folder in "Metadata", "traintestSUNRGBD":
        (root / "SUNRGBDtoolbox" / folder).mkdir(parents=True)
    write_split(root, [f"{AUTHORS_DISK}/{FOLDERS[index]}" for index in TRAIN])
    write_metadata(root, PATHS)
    write_masks(root, [labels_of(name) for name in NAMES])


def write_split(root: Path, train: list) -> None:
    content = {"alltrain": cell(train), "alltest": cell([f"{AUTHORS_DISK}/{FOLDERS[index]}" for index in TEST])}
    scipy.io.savemat(root / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat", content)


def write_metadata(root: Path, paths: list[str]) -> None:
    """Write the struct array that describes the samples; `paths` are those of the images on the authors' disk."""
    structs = struct_array(("K", "rgbpath", "rgbname"), [(np.eye(3), path, path.rpartition("/")[2]) for path in paths])
    scipy.io.savemat(root / "SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat", {"SUNRGBDMeta": structs}, do_compression=True)


def write_masks(root: Path, masks: list[np.ndarray]) -> None:
    """Write the HDF5 file, a struct array whose fields are arrays of references."""
    with matlab73(root / "SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat") as file:
        # MATLAB stores an array by columns, which HDF5 shows as (width, height).
        references(file, "SUNRGBD2Dseg/seglabel", [mask.T for mask in masks])
        references(file, "SUNRGBD2Dseg/seglabelall", [mask.T.astype(np.uint16) + 100 for mask in masks])
