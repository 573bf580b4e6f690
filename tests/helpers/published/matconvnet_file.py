"""The authors' model files: MATLAB 7.3, which is HDF5, with a handle object."""

import re
from pathlib import Path

import h5py
import numpy as np

from helpers.published.matconvnet import Parameters


class MatFile:
    """A MATLAB 7.3 file with one handle object, as `save('-v7.3')` lays it out."""

    def __init__(self, path: Path):
        self.file = h5py.File(path, "w", userblock_size=512)
        self.references = self.file.create_group("#refs#")
        self.path = path

    def array(self, group: h5py.Group, name: str, values: np.ndarray, kind: str | None = None) -> h5py.Dataset:
        """Numbers: HDF5 has the axes in reverse."""
        values = np.atleast_2d(values)
        dataset = group.create_dataset(name, data=np.ascontiguousarray(values.transpose()))
        dataset.attrs["MATLAB_class"] = np.bytes_(kind or {"f4": "single", "f8": "double"}[values.dtype.str[1:]])
        return dataset

    def text(self, group: h5py.Group, name: str, value: str) -> h5py.Dataset:
        """Text: UTF-16 codes."""
        dataset = self.array(group, name, np.frombuffer(value.encode("utf-16-le"), "<u2"), "char")
        dataset.attrs["MATLAB_int_decode"] = np.int32(2)
        return dataset

    def struct(self, group: h5py.Group, name: str) -> h5py.Group:
        """A struct: its fields are members."""
        made = group.create_group(name)
        made.attrs["MATLAB_class"] = np.bytes_("struct")
        return made

    def new(self) -> tuple[h5py.Group, str]:
        """Where something goes that is referred to."""
        return self.references, f"r{len(self.references)}"

    def cell(self, group: h5py.Group, name: str, members: list) -> h5py.Dataset:
        """A cell array, or a struct array's field: references."""
        references = np.array([member.ref for member in members], h5py.ref_dtype).reshape(-1, 1)
        return group.create_dataset(name, data=references)

    def object(self, group: h5py.Group, name: str, kind: str) -> h5py.Dataset:
        """A handle object: numbers that say where MATLAB keeps what it holds."""
        dataset = group.create_dataset(name, data=np.array([[0xDD000000, 2, 1, 1, 1, 1]], np.uint32))
        dataset.attrs["MATLAB_class"] = np.bytes_(kind)
        dataset.attrs["MATLAB_object_decode"] = np.int32(3)
        return dataset

    def close(self) -> None:
        """Write what only MATLAB reads: the first 128 bytes."""
        self.file.close()
        text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Thu Mar  1 12:00:00 2018 HDF5 schema 1.00 ."
        with self.path.open("r+b") as file:
            file.write(text.ljust(116) + b"\0" * 8 + b"\x00\x02IM")


def write(
    path: Path,
    params: Parameters,
    head: tuple[np.ndarray, np.ndarray],
    image_scales: tuple[float, ...] | None = (1.2,),
    dtype: type = np.float32,
) -> None:
    """Write a model as `cnn_save_model.m` does: an object of class ref_obj whose parts refer to each other."""
    mat = MatFile(path)
    mat.object(mat.file, "net_config", "ref_obj")
    encoder = {name: value for name, value in params.items() if re.match("conv1|res|bn", name)}
    decoder = {name: value for name, value in params.items() if name not in encoder}
    groups = []
    for number, (name, held) in enumerate(
        [("root", None), ("multi_featnet", None), ("featnet_1", encoder), ("refinenets", decoder)]
    ):
        group = mat.struct(*mat.new())
        mat.text(group, "name", name)
        mat.array(group, "group_idx", np.float64(number + 1))
        mat.object(group, "net_info", "ref_obj")
        if held:
            _dag_net(mat, mat.struct(group, "dag_net"), held, dtype)
        groups.append(group)
    groups.append(_loss_group(mat, head, dtype))
    root = mat.struct(*mat.new())
    mat.array(root, "group_counter", np.float64(len(groups)))
    mat.cell(root, "group_infos", groups).attrs["MATLAB_class"] = np.bytes_("cell")
    if image_scales is not None:
        mat.array(root, "net_input_img_scales", np.array(image_scales, np.float64))
    held = mat.file.create_group("#subsystem#")
    mcos = mat.cell(held, "MCOS", [root])
    mcos.attrs["MATLAB_class"] = np.bytes_("FileWrapper__")
    mcos.attrs["MATLAB_object_decode"] = np.int32(3)
    mat.close()


def _dag_net(mat: MatFile, group: h5py.Group, held: Parameters, dtype: type) -> None:
    fields = {"name": [], "value": [], "learningRate": [], "weightDecay": []}
    for name, value in held.items():
        fields["name"].append(mat.text(*mat.new(), name))
        fields["value"].append(mat.array(*mat.new(), value.astype(dtype)))
        fields["learningRate"].append(mat.array(*mat.new(), np.float32(1)))
        fields["weightDecay"].append(mat.array(*mat.new(), np.float64(1)))
    params = mat.struct(group, "params")
    for field, members in fields.items():
        mat.cell(params, field, members)
    variables = mat.struct(group, "vars")
    mat.cell(variables, "name", [mat.text(*mat.new(), "data"), mat.text(*mat.new(), "conv1")])
    mat.cell(variables, "precious", [mat.array(*mat.new(), np.float64(0)) for _ in range(2)])
    layers = mat.struct(group, "layers")
    mat.cell(layers, "name", [mat.text(*mat.new(), "conv1")])
    mat.cell(layers, "type", [mat.text(*mat.new(), "dagnn.Conv")])
    block = mat.struct(*mat.new())
    mat.array(block, "size", np.array([7.0, 7, 3, 64]))
    mat.array(block, "hasBias", np.array([0], np.uint8), "logical")
    mat.cell(layers, "block", [block])
    mat.array(mat.struct(group, "meta"), "normalization", np.zeros((2, 2), np.uint64), "struct").attrs["MATLAB_empty"] = 1


def _loss_group(mat: MatFile, head: tuple[np.ndarray, np.ndarray], dtype: type) -> h5py.Group:
    layers = [mat.struct(*mat.new()) for _ in range(3)]
    for layer, kind in zip(layers, ("dropout", "conv", "my_custom"), strict=True):
        mat.text(layer, "type", kind)
    mat.array(layers[0], "rate", np.float64(0.5))
    mat.array(layers[1], "filters", head[0].astype(dtype))
    mat.array(layers[1], "biases", head[1].astype(dtype))
    mat.array(layers[1], "stride", np.float64(1))
    mat.array(layers[1], "pad", np.float64(1))
    info = mat.struct(*mat.new())
    mat.cell(info, "layers", layers).attrs["MATLAB_class"] = np.bytes_("cell")
    group = mat.struct(*mat.new())
    mat.text(group, "name", "loss_group")
    mat.object(group, "net_info", "ref_obj")
    return group
