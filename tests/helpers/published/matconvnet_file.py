"""Model files of the authors: MATLAB 7.3, which is HDF5, with a handle object."""

import itertools
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from helpers.matlab import matlab73, text
from helpers.published.matconvnet import Parameters


class MatFile:
    """A MATLAB 7.3 file in the layout of `save('-v7.3')`."""

    def __init__(self, file: h5py.File):
        self.references = file.create_group("#refs#")
        self.numbers = itertools.count()

    def write(self, group: h5py.Group, name: str, value: Any) -> h5py.Group | h5py.Dataset:
        """Write a number, array, text, struct (dict), field of a struct array (list), cell array (tuple) or handle (None)."""
        kind, attributes, member = None, {}, None
        match value:
            case dict():
                member, kind = group.create_group(name), "struct"
                for field, content in value.items():
                    self.write(member, field, content)
            case list() | tuple():
                elements = [self.write(self.references, f"r{next(self.numbers)}", element) for element in value]
                data = np.array([element.ref for element in elements], h5py.ref_dtype).reshape(-1, 1)
                kind = "cell" if isinstance(value, tuple) else None
            case None:
                data, kind = np.array([[0xDD000000, 2, 1, 1, 1, 1]], np.uint32), "ref_obj"
                attributes = {"MATLAB_object_decode": np.int32(3)}
            case str():
                data, kind = text(value), "char"
                attributes = {"MATLAB_int_decode": np.int32(2)}
            case _:
                data = np.ascontiguousarray(np.atleast_2d(value).transpose())
                kind = {"f4": "single", "f8": "double", "u1": "logical"}[data.dtype.str[1:]]
        member = group.create_dataset(name, data=data) if member is None else member
        member.attrs.update(attributes | ({"MATLAB_class": np.bytes_(kind)} if kind else {}))
        return member


def write(
    path: Path,
    params: Parameters,
    head: tuple[np.ndarray, np.ndarray],
    image_scales: tuple[float, ...] | None = (1.2,),
    dtype: type = np.float32,
) -> None:
    """Write a model like `cnn_save_model.m`: an object of class ref_obj whose parts refer to each other."""
    encoder = {name: value.astype(dtype) for name, value in params.items() if re.match("conv1|res|bn", name)}
    decoder = {name: value.astype(dtype) for name, value in params.items() if name not in encoder}
    groups = [{"name": name, "net_info": None} for name in ("root", "multi_featnet")]
    groups += [{"name": "featnet_1", "net_info": None, "dag_net": _dag_net(encoder)}]
    groups += [{"name": "refinenets", "net_info": None, "dag_net": _dag_net(decoder)}, {"name": "loss_group", "net_info": None}]
    convolution = {"filters": head[0].astype(dtype), "biases": head[1].astype(dtype), "stride": 1.0, "pad": 1.0}
    layers = ({"type": "dropout", "rate": 0.5}, {"type": "conv", **convolution}, {"type": "my_custom"})
    scales = {} if image_scales is None else {"net_input_img_scales": np.array(image_scales, np.float64)}
    root = {"group_counter": float(len(groups)), "group_infos": tuple(groups), **scales}
    with matlab73(path) as file:
        mat = MatFile(file)
        mat.write(file, "net_config", None)
        mat.write(mat.references, "loss", {"layers": layers})
        objects = mat.write(file.create_group("#subsystem#"), "MCOS", [root])
        objects.attrs.update({"MATLAB_class": np.bytes_("FileWrapper__"), "MATLAB_object_decode": np.int32(3)})


def _dag_net(content: Parameters) -> dict[str, Any]:
    rates = {"learningRate": [np.float32(1)] * len(content), "weightDecay": [1.0] * len(content)}
    block = {"size": np.array([7.0, 7, 3, 64]), "hasBias": np.uint8(0)}
    return {
        "params": {"name": list(content), "value": list(content.values()), **rates},
        "vars": {"name": ["data", "conv1"], "precious": [0.0, 0.0]},
        "layers": {"name": ["conv1"], "type": ["dagnn.Conv"], "block": [block]},
    }
