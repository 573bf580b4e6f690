"""The authors' .mat files (MATLAB 7.3, which is HDF5): parameters out of objects that only MATLAB can rebuild.

A file holds one object, and MATLAB keeps what its objects hold in a group of its own without saying where each thing belongs.
So the parts are looked for by their fields, wherever they are: MatConvNet's `params` by name and value, and the classifier,
which the authors keep outside of it, by its filters and biases (DagNN.saveobj and main/gen_network_loss_group.m of their code).
"""

from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from refinenet_pl.checkpoints.published.limits import refuse_bomb
from refinenet_pl.errors import CheckpointError

# The fields of MatConvNet's struct array `params`.
_PARAMETER_FIELDS = {"name", "value", "learningRate", "weightDecay"}
_CLASSIFIER_FIELDS = {"filters", "biases"}
_SCALES_FIELD = "net_input_img_scales"


class MatConvNetModel(NamedTuple):
    """What one of the authors' files holds. Arrays have MATLAB's order of axes.

    Attributes:
        parameters: Float arrays by MatConvNet's names: filters (height, width, in, out), biases (1, C), multipliers (C, 1),
            moments (C, 2) of mean and standard deviation.
        classifier_filters: Float (3, 3, 256, outputs).
        classifier_biases: Float (1, outputs).
        image_scales: Factors by which the network takes the picture. A file that does not tell has the one that is part of its
            parameters' names (`ims1d2`): 1.2.
    """

    parameters: dict[str, np.ndarray]
    classifier_filters: np.ndarray
    classifier_biases: np.ndarray
    image_scales: tuple[float, ...]


def read_matconvnet(path: Path) -> MatConvNetModel:
    """Read one of the authors' model files.

    Raises:
        CheckpointError: The file is damaged, or a part of it is missing, there twice or not understood; the message says which.
    """
    try:
        with h5py.File(path, "r") as file:
            return _File(path, file).model()
    except CheckpointError:
        raise
    except Exception as error:  # damaged bytes surface while arrays are read, as almost anything
        raise CheckpointError(f"{path}: cannot be read as a MATLAB 7.3 file ({error}); is it complete? Copy it anew") from error


class _File:
    """An open file, and how many bytes of it were read."""

    def __init__(self, path: Path, file: h5py.File):
        self.path = path
        self.file = file
        self.size = 0

    def model(self) -> MatConvNetModel:
        parameter_groups, classifiers, scales = [], [], {}

        def look(name: str, member: h5py.Group | h5py.Dataset) -> None:
            if isinstance(member, h5py.Dataset):
                if name.rpartition("/")[2] == _SCALES_FIELD:
                    scales[name] = tuple(round(float(scale), 6) for scale in self._array(member).flat)
            elif member.keys() >= _PARAMETER_FIELDS:
                parameter_groups.append(member)
            elif member.keys() >= _CLASSIFIER_FIELDS:
                classifiers.append(member)

        self.file.visititems(look)
        if not parameter_groups:
            raise CheckpointError(
                f"{self.path}: holds no struct array with the fields {', '.join(sorted(_PARAMETER_FIELDS))}, which networks of "
                "MatConvNet have; is it a RefineNet of the authors?"
            )
        if len(classifiers) != 1:
            found = ", ".join(group.name for group in classifiers) or "none"
            raise CheckpointError(
                f"{self.path}: must hold one struct with the fields {' and '.join(sorted(_CLASSIFIER_FIELDS))}, the "
                f"classifier; found {found}"
            )
        if len(set(scales.values())) > 1:
            raise CheckpointError(f"{self.path}: {_SCALES_FIELD} is there more than once, and not the same: {scales}")
        parameters: dict[str, np.ndarray] = {}
        for group in parameter_groups:
            for name, place in self._named_values(group):
                if name in parameters:
                    raise CheckpointError(f"{self.path}: the parameter {name} is there twice, the second time at {place.name}")
                parameters[name] = self._array(place, name)
        filters, biases = (self._array(self._single(classifiers[0], name)) for name in ("filters", "biases"))
        if filters.ndim != 4 or biases.size != filters.shape[-1]:
            raise CheckpointError(
                f"{self.path}: the classifier {classifiers[0].name} has filters {filters.shape} and biases {biases.shape}; "
                "expected (3, 3, 256, outputs) and (1, outputs)"
            )
        return MatConvNetModel(parameters, filters, biases, next(iter(scales.values()), (1.2,)))

    def _named_values(self, group: h5py.Group) -> list[tuple[str, h5py.Dataset]]:
        """The elements of a struct array: names, and where the values are."""
        names, values = group["name"], group["value"]
        # MATLAB writes a struct array of a single element like a struct, without references.
        if getattr(names, "dtype", None) != h5py.ref_dtype:
            return [(self._text(self._single(group, "name")), self._single(group, "value"))]
        if getattr(values, "dtype", None) != h5py.ref_dtype or names.size != values.size:
            raise CheckpointError(f"{self.path}: the fields name and value of {group.name} do not have an entry for each other")
        return [
            (self._text(self._dereferenced(name, names)), self._dereferenced(value, values))
            for name, value in zip(names[()].flat, values[()].flat, strict=True)
        ]

    def _dereferenced(self, reference: h5py.Reference, place: h5py.Dataset) -> h5py.Dataset:
        target = self.file[reference] if reference else None
        if not isinstance(target, h5py.Dataset):
            raise CheckpointError(f"{self.path}: an entry of {place.name} leads to no array")
        return target

    def _single(self, group: h5py.Group, field: str) -> h5py.Dataset:
        if not isinstance(group[field], h5py.Dataset):
            raise CheckpointError(f"{self.path}: {group.name}/{field} is a struct where an array was expected")
        return group[field]

    def _text(self, place: h5py.Dataset) -> str:
        codes = self._read(place)
        if place.attrs.get("MATLAB_class") != b"char" or codes.dtype != np.uint16:
            raise CheckpointError(f"{self.path}: {place.name} is no text, but the name of a parameter was expected there")
        return codes.T.astype("<u2").tobytes().decode("utf-16-le")

    def _array(self, place: h5py.Dataset, name: str | None = None) -> np.ndarray:
        """Numbers, with MATLAB's order of axes."""
        what = f"{place.name}, the value of {name}," if name else place.name
        kind = place.attrs.get("MATLAB_class", b"")
        if "MATLAB_object_decode" in place.attrs or kind == b"gpuArray":
            raise CheckpointError(
                f"{self.path}: {what} is an object of MATLAB's class {_name(kind)}, not an array of numbers; where that is "
                "gpuArray, load the model in MATLAB, move it to the CPU and save it again with -v7.3"
            )
        if kind not in (b"single", b"double") or place.dtype.kind != "f":
            raise CheckpointError(f"{self.path}: {what} is of MATLAB's class {_name(kind)}; expected single or double")
        if "MATLAB_empty" in place.attrs:
            raise CheckpointError(f"{self.path}: {what} is empty")
        return self._read(place).transpose().astype(np.float32)

    def _read(self, place: h5py.Dataset) -> np.ndarray:
        # What lies in other files was not given to be read, and is nothing that MATLAB writes.
        if place.external or place.is_virtual:
            raise CheckpointError(f"{self.path}: {place.name} is kept in another file; that is refused")
        if not place.shape:
            raise CheckpointError(f"{self.path}: {place.name} is no array")
        self.size += place.nbytes
        refuse_bomb(self.path, self.size)
        return place[()]


def _name(matlab_class: object) -> str:
    return matlab_class.decode(errors="replace") if isinstance(matlab_class, bytes) and matlab_class else "unknown"
