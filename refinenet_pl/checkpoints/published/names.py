"""Mapping of the names in published checkpoints to the names of `RefineNet`'s parameters."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from refinenet_pl.errors import CheckpointError

Family = Literal["drsleep", "light-weight", "matconvnet"]

_DEPTHS: dict[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}


def pytorch_names(rcus: bool) -> dict[str, str]:
    """Map the decoder's modules in the PyTorch ports of RefineNet and of Light-Weight RefineNet, which share their names.

    Args:
        rcus: Include residual convolution units, which Light-Weight RefineNet lacks.

    Returns:
        Our name of each module, to be followed by `.weight` or `.bias`.
    """
    names = {"clf_conv": "segmentation_head.1"}
    for stage in range(1, 5):
        names[f"p_ims1d2_outl{stage}_dimred"] = f"decoder.adaptations.{stage - 1}.0.1"
        names |= _fusion(stage, f"adapt_stage{stage}")
        for place in range(1, 5):
            names[f"mflow_conv_g{stage}_pool.0.{place}_outvar_dimred"] = _pooling(stage, place)
        for ours, prefix in _residual_units(stage, f"adapt_stage{stage}_b.0.", f"mflow_conv_g{stage}_b.0.") if rcus else ():
            names |= {f"{prefix}_conv": f"{ours}.conv1", f"{prefix}_conv_relu_varout_dimred": f"{ours}.conv2"}
    return names


def matconvnet_names(prefix: str, improved_pooling: bool, pooling_blocks: int) -> dict[str, str]:
    """Map the decoder's parameters in the authors' MatConvNet models, without the classifier, which has no name there.

    Args:
        prefix: `adapt_input_path`, or `adapt_stage` in older models.
        improved_pooling: The convolutions of chained pooling precede its pooling, which changes their names.
        pooling_blocks: Number of pooling blocks.

    Returns:
        Our name of each parameter.
    """
    names = {}
    for stage in range(1, 5):
        names[f"p_ims1d2_outl{stage}_dimred"] = f"decoder.adaptations.{stage - 1}.0.1"
        names |= _fusion(stage, f"{prefix}{stage}")
        flow = f"mflow_conv_g{stage}"
        for place in range(1, pooling_blocks + 1):
            if not improved_pooling:
                name = f"{flow}_pool{place}_outvar_dimred"
            elif place == 1:
                name = f"{flow}_poolprev_relu_varout_pb1"
            else:
                name = f"{flow}_pool{place - 1}_outvar_pb{place}"
            names[name] = _pooling(stage, place)
        for ours, theirs in _residual_units(stage, f"{prefix}{stage}_b", f"{flow}_b"):
            names |= {f"{theirs}_conv": f"{ours}.conv1", f"{theirs}_conv_relu_varout_dimred": f"{ours}.conv2"}
    # Only the first convolution of a residual unit has a bias.
    filters = {f"{theirs}_filter": f"{ours}.weight" for theirs, ours in names.items()}
    return filters | {f"{theirs}_bias": f"{ours}.bias" for theirs, ours in names.items() if ours.endswith(".conv1")}


def matconvnet_encoder_names(blocks: list[list[str]]) -> Iterator[tuple[str, str, str]]:
    """Map the encoder's convolutions and batch normalizations in the authors' MatConvNet models.

    Args:
        blocks: Names of each stage's blocks: `a`, `b1`, ...

    Yields:
        The convolution's name, to be followed by `_filter`; the batch normalization's, to be followed by `_mult`, `_bias` and
        `_moments`; and our name of both, with a `{}` for `conv` or `bn`, or in a shortcut for 0 or 1.
    """
    yield "conv1", "bn_conv1", "encoder.{}1"
    for stage, letters in enumerate(blocks, start=1):
        for index, letter in enumerate(letters):
            theirs, ours = f"{stage + 1}{letter}", f"encoder.layer{stage}.{index}"
            if index == 0:
                yield f"res{theirs}_branch1", f"bn{theirs}_branch1", f"{ours}.downsample.{{}}"
            for place, branch in enumerate("abc", start=1):
                yield f"res{theirs}_branch2{branch}", f"bn{theirs}_branch2{branch}", f"{ours}.{{}}{place}"


def encoder_name(path: Path, blocks: list[int]) -> str:
    """Name the ResNet with these numbers of blocks in its stages.

    Raises:
        CheckpointError: It is not ResNet-50, 101 or 152.
    """
    depth = _DEPTHS.get(tuple(blocks))
    if depth is None:
        raise CheckpointError(
            f"{path}: its encoder has {blocks} blocks in its stages; ResNet-50, 101 and 152 have {', '.join(map(str, _DEPTHS))}"
        )
    return f"resnet{depth}"


def listed(what: str, names: Iterable[str]) -> str:
    """Format names for an error message: `3 WHAT (a, b, c); `, with at most 10 of them; empty if there are none."""
    names = list(names)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{len(names)} {what} ({', '.join(names[:10])}{more}); " if names else ""


def _fusion(stage: int, prefix: str) -> dict[str, str]:
    if stage == 1:  # a single path is not fused
        return {}
    ours = f"decoder.blocks.{stage - 1}.fusion.convs"
    return {f"mflow_conv_g{stage - 1}_b3_joint_varout_dimred": f"{ours}.0", f"{prefix}_b2_joint_varout_dimred": f"{ours}.1"}


def _pooling(stage: int, place: int) -> str:
    return f"decoder.blocks.{stage - 1}.pooling.convs.{place - 1}"


def _residual_units(stage: int, path: str, output: str) -> Iterator[tuple[str, str]]:
    """Our name and theirs of each unit. Theirs end a block with three; the paper counts the last two to the next block."""
    for number in (1, 2):
        yield f"decoder.blocks.{stage - 1}.paths.{0 if stage == 1 else 1}.{number - 1}", f"{path}{number}"
    yield f"decoder.blocks.{stage - 1}.output.0", f"{output}1"
    for number in (2, 3):
        ours = f"decoder.blocks.{stage}.paths.0" if stage < 4 else "decoder.head"
        yield f"{ours}.{number - 2}", f"{output}{number}"
