"""SUN RGB-D: a folder a sample, and the toolbox's lists, metadata and HDF5 file of masks."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image

from helpers.layouts.nyudv2 import cell, matlab73, text

AUTHORS_DISK = "/n/fs/sun3d/data/SUNRGBD"
# Folder, picture and size (height, width), in the order of SUNRGBDMeta.
SAMPLES = (
    ("kv2/kinect2data/000002_2014-05-26_14-23-37_260595134347_rgbf000103-resize", "0000103.jpg", (60, 80)),
    ("kv1/NYUdata/NYU0001", "NYU0001.jpg", (56, 90)),
    ("kv1/b3dodata/img_0063", "img_0063.jpg", (60, 80)),
    ("realsense/lg/2014_10_21-18_16_12-1311000073", "0000000.jpg", (54, 96)),
    ("xtion/sun3ddata/brown_bm_1/brown_bm_1/0000001-000000033369", "0000001-000000033369.jpg", (72, 64)),
    ("xtion/xtion_align_data/2014_12_18-10_52_57-1311000073", "0000017.jpg", (60, 80)),
)
# Positions in SAMPLES, in the order of allsplit.mat.
TRAIN, TEST = (4, 0, 3), (5, 1)


def mask_of(index: int) -> np.ndarray:
    """Official classes, uint8: 1 to 37, and 0 where nothing is labelled."""
    return np.random.default_rng(index).integers(0, 38, SAMPLES[index][2], np.uint8)


def build(root: Path) -> None:
    for index, (folder, picture, (height, width)) in enumerate(SAMPLES):
        # Coarse, so that JPEG keeps about what it is given.
        colours = np.random.default_rng(1000 + index).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        pixels = colours.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        path = root / "SUNRGBD" / folder / "image" / picture
        path.parent.mkdir(parents=True)
        Image.fromarray(pixels).save(path, quality=95)
    for folder in "Metadata", "traintestSUNRGBD":
        (root / "SUNRGBDtoolbox" / folder).mkdir(parents=True)
    write_split(root, [f"{AUTHORS_DISK}/{SAMPLES[index][0]}" for index in TRAIN])
    write_metadata(root, [f"{AUTHORS_DISK}/{folder}/image/{picture}" for folder, picture, _ in SAMPLES])
    write_masks(root, [mask_of(index) for index in range(len(SAMPLES))])


def write_split(root: Path, train: list[str]) -> None:
    test = [f"{AUTHORS_DISK}/{SAMPLES[index][0]}" for index in TEST]
    scipy.io.savemat(
        root / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat",
        {
            "alltrain": cell(train),
            "alltest": cell(test),
            "trainvalsplit": {"train": cell(train[:1]), "val": cell(train[1:])},
        },
    )


def write_metadata(root: Path, paths: list[str]) -> None:
    """Write the struct array that describes the samples; `paths` are those of the pictures on the authors' disk."""
    fields = ("sequenceName", "groundtruth3DBB", "Rtilt", "K", "depthpath", "rgbpath", "depthname", "rgbname", "sensorType")
    metadata = np.empty((1, len(paths)), [(field, object) for field in fields])
    for entry, path in zip(metadata[0], paths, strict=True):
        name = path.rpartition("/")[2]
        entry["sequenceName"], entry["sensorType"] = "SUNRGBD" + path.removeprefix(AUTHORS_DISK), "kv2"
        entry["groundtruth3DBB"] = np.empty((0, 0))
        entry["Rtilt"] = entry["K"] = np.eye(3)
        entry["rgbpath"], entry["rgbname"] = path, name
        entry["depthpath"], entry["depthname"] = path.replace("/image/", "/depth/"), name.replace(".jpg", ".png")
    scipy.io.savemat(root / "SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat", {"SUNRGBDMeta": metadata}, do_compression=True)


def write_masks(root: Path, masks: list[np.ndarray]) -> None:
    """Write the HDF5 file, a MATLAB struct array whose fields are arrays of references."""
    with matlab73(root / "SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat") as file:

        def references(name: str, contents: list[np.ndarray]) -> None:
            stored = [file.create_dataset(f"#refs#/{name}{index}", data=content) for index, content in enumerate(contents)]
            file.create_dataset(name, data=np.array([[one.ref] for one in stored], h5py.ref_dtype))

        # MATLAB stores an array by columns, which HDF5 shows as (width, height).
        references("SUNRGBD2Dseg/seglabel", [mask.T for mask in masks])
        references("SUNRGBD2Dseg/seglabelall", [mask.T.astype(np.uint16) + 100 for mask in masks])
        references("seg37list", [text(f"class {number}") for number in range(1, 38)])
        file["SUNRGBD2Dseg"].attrs["MATLAB_class"] = np.bytes_("struct")
        file["seg37list"].attrs["MATLAB_class"] = np.bytes_("cell")
