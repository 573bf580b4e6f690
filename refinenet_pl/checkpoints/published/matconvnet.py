"""Conversion of the authors' models, trained with MatConvNet."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refinenet_pl.checkpoints.published.matconvnet_file import MatConvNetModel
from refinenet_pl.checkpoints.published.names import encoder_name, listed, matconvnet_encoder_names, matconvnet_names
from refinenet_pl.errors import CheckpointError
from refinenet_pl.models.refinenet import VoidChannel

# Position of the void channel in the authors' networks, by number of outputs (main/gen_class_info_*.m of their code).
_VOID_CHANNELS: dict[int, VoidChannel | None] = {
    22: "last", 20: "last", 41: "last", 7: None, 60: None, 38: "first", 151: "first",
}  # fmt: skip

# The authors subtract 128 from images of 0..255 and do not divide.
_MATCONVNET_NORMALIZATION = ((128 / 255,) * 3, (1 / 255,) * 3)
_BATCH_NORM_EPS = 1e-5


def convert_matconvnet(path: Path, model: MatConvNetModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Convert one of the authors' models.

    Args:
        path: Its file, named in errors.
        model: Contents of the file.

    Returns:
        The arguments of `RefineNet`, and its state dict.

    Raises:
        CheckpointError: A parameter is missing or unexpected, or no such model was published.
    """
    parameters = dict(model.parameters)
    classes = model.classifier_filters.shape[-1]
    if classes not in _VOID_CHANNELS:
        raise CheckpointError(
            f"{path}: has {classes} outputs; the authors' models have {', '.join(map(str, sorted(_VOID_CHANNELS)))}, and the "
            "void output of another number is unknown"
        )
    blocks = _matconvnet_blocks(parameters)
    improved = any("_poolprev_relu_varout_pb" in name for name in parameters)
    pattern = r"mflow_conv_g1_pool(\d+)_outvar_dimred_filter|mflow_conv_g1_\w*_pb(\d+)_filter"
    numbers = [int(match[1] or match[2]) for name in parameters if (match := re.fullmatch(pattern, name))]
    prefix = "adapt_input_path" if any(name.startswith("adapt_input_path") for name in parameters) else "adapt_stage"
    arguments: dict[str, Any] = {
        "encoder_name": encoder_name(path, [len(letters) for letters in blocks]),
        "classes": classes,
        "pooling_blocks": max(numbers, default=0),
        "pooling_order": "conv_pool" if improved else "pool_conv",
        "upsampling": "bicubic",
        "input_scale": _input_scale(path, model),
        "eight_bit_input": True,
        "caffe_strides": True,
        "normalization": _MATCONVNET_NORMALIZATION,
        "void_channel": _VOID_CHANNELS[classes],
    }
    arrays = {
        "segmentation_head.1.weight": _filters(model.classifier_filters),
        "segmentation_head.1.bias": model.classifier_biases.reshape(-1),
    }
    missing = []
    for theirs, ours in matconvnet_names(prefix, improved, arguments["pooling_blocks"]).items():
        if theirs in parameters:
            array = parameters.pop(theirs)
            arrays[ours] = _filters(array) if theirs.endswith("_filter") else array.reshape(-1)
        else:
            missing.append(theirs)
    for convolution, normalization, ours in matconvnet_encoder_names(blocks):
        expected = [f"{convolution}_filter", *(f"{normalization}_{part}" for part in ("mult", "bias", "moments"))]
        absent = [name for name in expected if name not in parameters]
        missing += absent
        if not absent:
            bias = parameters.pop(f"{convolution}_bias", None)
            filters, scale, shift, moments = (parameters.pop(name) for name in expected)
            arrays |= _convolution_and_normalization(path, ours, filters, scale, shift, moments, bias)
    if missing or parameters:
        raise CheckpointError(f"{path}: {listed('missing parameters', missing)}{listed('unexpected parameters', parameters)}")
    return arguments, {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


def _matconvnet_blocks(parameters: dict[str, np.ndarray]) -> list[list[str]]:
    """Names of each stage's blocks, in order: a, b, c or a, b1, b2, ..."""
    blocks: list[list[str]] = []
    for stage in range(2, 6):
        found = (re.fullmatch(rf"res{stage}([a-z])(\d*)_branch2a_filter", name) for name in parameters)
        keys = sorted((match[1], int(match[2] or 0)) for match in found if match)
        blocks.append([f"{letter}{number or ''}" for letter, number in keys])
    return blocks


def _convolution_and_normalization(
    path: Path,
    ours: str,
    filters: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    moments: np.ndarray,
    bias: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Our tensors of an encoder's convolution and the batch normalization after it.

    MatConvNet stores the standard deviation with eps included, and adds none.
    """
    shortcut = ours.endswith("downsample.{}")
    convolution, normalization = (ours.format(*kind) for kind in ((("0",), ("1",)) if shortcut else (("conv",), ("bn",))))
    if moments.ndim != 2 or moments.shape[1] != 2:
        raise CheckpointError(f"{path}: the moments for {normalization} have shape {moments.shape}, not (channels, 2)")
    mean, deviation = moments.astype(np.float64).T
    if (deviation <= 0).any():
        raise CheckpointError(f"{path}: the moments for {normalization} have a standard deviation that is not positive")
    # Our convolution has no bias; one before batch normalization equals a smaller mean.
    mean = mean if bias is None else mean - bias.reshape(-1)
    variance = np.maximum(deviation**2 - _BATCH_NORM_EPS, 0)
    # The factor is 1 unless the deviation is below sqrt(eps), the smallest one that our parameters can represent.
    scale = scale.reshape(-1) * (np.sqrt(variance + _BATCH_NORM_EPS) / deviation)
    tensors = {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance}
    arrays = {f"{normalization}.{name}": array.reshape(-1).astype(np.float32) for name, array in tensors.items()}
    return arrays | {
        f"{convolution}.weight": _filters(filters),
        f"{normalization}.num_batches_tracked": np.array(0, np.int64),
    }


def _filters(array: np.ndarray) -> np.ndarray:
    """(height, width, in, out) -> (out, in, height, width); MATLAB omits trailing dimensions of 1."""
    array = array.reshape(array.shape + (1,) * (4 - array.ndim))
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1))


def _input_scale(path: Path, model: MatConvNetModel) -> float:
    if len(model.image_scales) != 1:
        raise CheckpointError(
            f"{path}: resizes images by the scales {', '.join(f'{scale:g}' for scale in model.image_scales)}; only models with "
            "one scale were published and can be imported"
        )
    return float(model.image_scales[0])
