"""Reader of the authors' .mat files (MATLAB 7.3, which is HDF5).

A file holds one object. MATLAB stores the contents of objects in a separate group without their place in the object, which only
MATLAB can rebuild. The parts are therefore found by their fields, in any group: MatConvNet's `params` by name and value, and
the classifier, which the authors store outside of it, by filters and biases (DagNN.saveobj and main/gen_network_loss_group.m of
their code).
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
    """Contents of one of the authors' files. Arrays have MATLAB's order of axes.

    Attributes:
        parameters: Float arrays by MatConvNet's names: filters (height, width, in, out), biases (1, C), multipliers (C, 1),
            moments (C, 2) of mean and standard deviation.
        classifier_filters: Float (3, 3, 256, outputs).
        classifier_biases: Float (1, outputs).
        image_scales: Factors that the network resizes its input by. If the file has none, 1.2, which is part of its parameters'
            names (`ims1d2`).
    """

    parameters: dict[str, np.ndarray]
    classifier_filters: np.ndarray
    classifier_biases: np.ndarray
    image_scales: tuple[float, ...]


def read_matconvnet(path: Path) -> MatConvNetModel:
    """Read one of the authors' model files.

    Raises:
        CheckpointError: The file is damaged, or a part of it is missing, duplicated or of an unexpected type.
    """
    try:
        with h5py.File(path, "r") as file:
            return _File(path, file).model()
    except CheckpointError:
        raise
    except Exception as error:  # h5py raises almost any error on damaged bytes
        raise CheckpointError(
            f"{path}: cannot be read as a MATLAB 7.3 file ({error}); is it complete? Download it again"
        ) from error


class _File:
    """An open file, and the number of bytes read from it."""

    def __init__(self, path: Path, file: h5py.File):
        self.path = path
        self.file = file
        self.size = 0

    def model(self) -> MatConvNetModel:
        parameter_groups: list[h5py.Group] = []
        classifiers: list[h5py.Group] = []
        scales: dict[str, tuple[float, ...]] = {}

        def visit(name: str, member: h5py.Group | h5py.Dataset) -> None:
            if isinstance(member, h5py.Dataset):
                if name.rpartition("/")[2] == _SCALES_FIELD:
                    scales[name] = tuple(round(float(scale), 6) for scale in self._array(member).flat)
            elif member.keys() >= _PARAMETER_FIELDS:
                parameter_groups.append(member)
            elif member.keys() >= _CLASSIFIER_FIELDS:
                classifiers.append(member)

        self.file.visititems(visit)
        if not parameter_groups:
            raise CheckpointError(
                f"{self.path}: has no struct array with the fields {', '.join(sorted(_PARAMETER_FIELDS))} of MatConvNet's "
                "networks; is it one of the authors' RefineNet models?"
            )
        if len(classifiers) != 1:
            found = ", ".join(group.name for group in classifiers) or "none"
            raise CheckpointError(
                f"{self.path}: must have one struct with the fields {' and '.join(sorted(_CLASSIFIER_FIELDS))}, the "
                f"classifier; found {found}"
            )
        if len(set(scales.values())) > 1:
            raise CheckpointError(f"{self.path}: {_SCALES_FIELD} occurs with different values: {scales}")
        parameters: dict[str, np.ndarray] = {}
        for group in parameter_groups:
            for name, place in self._named_values(group):
                if name in parameters:
                    raise CheckpointError(f"{self.path}: the parameter {name} occurs twice, the second time at {place.name}")
                parameters[name] = self._array(place, name)
        filters, biases = (self._array(self._single(classifiers[0], name)) for name in ("filters", "biases"))
        if filters.ndim != 4 or biases.size != filters.shape[-1]:
            raise CheckpointError(
                f"{self.path}: the classifier {classifiers[0].name} has filters {filters.shape} and biases {biases.shape}; "
                "expected (3, 3, 256, outputs) and (1, outputs)"
            )
        return MatConvNetModel(parameters, filters, biases, next(iter(scales.values()), (1.2,)))

    def _named_values(self, group: h5py.Group) -> list[tuple[str, h5py.Dataset]]:
        """The elements of a struct array: names, and datasets of the values."""
        names, values = group["name"], group["value"]
        # MATLAB writes a struct array with one element like a struct, without references.
        if getattr(names, "dtype", None) != h5py.ref_dtype:
            return [(self._text(self._single(group, "name")), self._single(group, "value"))]
        if getattr(values, "dtype", None) != h5py.ref_dtype or names.size != values.size:
            raise CheckpointError(f"{self.path}: the fields name and value of {group.name} differ in length")
        return [
            (self._text(self._dereferenced(name, names)), self._dereferenced(value, values))
            for name, value in zip(names[()].flat, values[()].flat, strict=True)
        ]

    def _dereferenced(self, reference: h5py.Reference, place: h5py.Dataset) -> h5py.Dataset:
        target = self.file[reference] if reference else None
        if not isinstance(target, h5py.Dataset):
            raise CheckpointError(f"{self.path}: an entry of {place.name} does not refer to an array")
        return target

    def _single(self, group: h5py.Group, field: str) -> h5py.Dataset:
        if not isinstance(group[field], h5py.Dataset):
            raise CheckpointError(f"{self.path}: {group.name}/{field} is a struct; expected an array")
        return group[field]

    def _text(self, place: h5py.Dataset) -> str:
        codes = self._read(place)
        if place.attrs.get("MATLAB_class") != b"char" or codes.dtype != np.uint16:
            raise CheckpointError(f"{self.path}: {place.name} is not text; expected the name of a parameter")
        return codes.T.astype("<u2").tobytes().decode("utf-16-le")

    def _array(self, place: h5py.Dataset, name: str | None = None) -> np.ndarray:
        """Read numbers, with MATLAB's order of axes."""
        what = f"{place.name}, the value of {name}," if name else place.name
        kind = place.attrs.get("MATLAB_class", b"")
        if "MATLAB_object_decode" in place.attrs or kind == b"gpuArray":
            raise CheckpointError(
                f"{self.path}: {what} is an object of MATLAB's class {_name(kind)}, not an array of numbers; if the class "
                "is gpuArray, load the model in MATLAB, move it to the CPU and save it again with -v7.3"
            )
        if kind not in (b"single", b"double") or place.dtype.kind != "f":
            raise CheckpointError(f"{self.path}: {what} is of MATLAB's class {_name(kind)}; expected single or double")
        if "MATLAB_empty" in place.attrs:
            raise CheckpointError(f"{self.path}: {what} is empty")
        return self._read(place).transpose().astype(np.float32)

    def _read(self, place: h5py.Dataset) -> np.ndarray:
        # MATLAB writes no references to other files, so these are an attempt to read files that the user did not name.
        if place.external or place.is_virtual:
            raise CheckpointError(f"{self.path}: {place.name} refers to another file, which is refused")
        if not place.shape:
            raise CheckpointError(f"{self.path}: {place.name} is not an array")
        self.size += place.nbytes
        refuse_bomb(self.path, self.size)
        return place[()]


def _name(matlab_class: object) -> str:
    return matlab_class.decode(errors="replace") if isinstance(matlab_class, bytes) and matlab_class else "unknown"
