"""Conversion of checkpoints of the PyTorch ports of RefineNet and of Light-Weight RefineNet."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refinenet_pl.checkpoints.published.names import Family, encoder_name, pytorch_names
from refinenet_pl.checkpoints.published.pickles import read_state_dict
from refinenet_pl.errors import CheckpointError


def read_pytorch(path: Path) -> tuple[Family, dict[str, Any], dict[str, Tensor]]:
    """Read a checkpoint of the PyTorch ports of RefineNet or of Light-Weight RefineNet.

    Returns:
        The family, the arguments of `RefineNet`, and its state dict.

    Raises:
        CheckpointError: The file cannot be read or is of neither family.
    """
    state = read_state_dict(path, marker="clf_conv.weight")
    adaptation = state.get("p_ims1d2_outl1_dimred.weight")
    if adaptation is None or adaptation.ndim != 4:
        raise CheckpointError(f"{path}: has no convolution p_ims1d2_outl1_dimred.weight; this family is unknown")
    rcus = any(name.startswith("adapt_stage1_b.") for name in state)
    family: Family = "drsleep" if rcus else "light-weight"
    kernel_size = adaptation.shape[-1]
    if (family, kernel_size) not in (("drsleep", 3), ("light-weight", 1)):
        raise CheckpointError(
            f"{path}: has {'' if rcus else 'no '}residual convolution units and {kernel_size}x{kernel_size} convolutions; "
            "RefineNet has such units and 3x3 convolutions, Light-Weight RefineNet has no such units and 1x1 convolutions"
        )
    names = pytorch_names(rcus)
    tensors = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        tensors[f"{names[module]}.{kind}" if module in names else f"encoder.{name}"] = tensor
    # Unused counters, which files from before PyTorch 0.4.1 lack.
    for name in list(tensors):
        if name.endswith(".running_mean"):
            tensors.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    blocks = [len({n.split(".")[1] for n in state if n.startswith(f"layer{stage}.")}) for stage in range(1, 5)]
    arguments: dict[str, Any] = {
        "encoder_name": encoder_name(path, blocks),
        "classes": len(state["clf_conv.weight"]),
        "upsampling": "bilinear_aligned",
    }
    if family == "light-weight":
        arguments |= {"kernel_size": 1, "path_rcus": 0, "output_rcus": 0, "head_rcus": 0, "head_dropout": 0.0}
    return family, arguments, tensors
