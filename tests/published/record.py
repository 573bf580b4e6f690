"""Record what the published code gives for the weights of `weights.py`.

Usage: python tests/published/record.py FAMILY CHECKOUT, where FAMILY is drsleep_refinenet50 and CHECKOUT a copy of
github.com/DrSleep/refinenet-pytorch, or lightweight_refinenet50 and github.com/DrSleep/light-weight-refinenet. That code is for
non-commercial use and is not kept here.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), sys.argv[2]]

from models import resnet  # noqa: E402 - of the checkout

from published.weights import HERE, SIZES, picture, state_dict  # noqa: E402

family = sys.argv[1]
build = resnet.RefineNet if family.startswith("drsleep") else resnet.ResNetLW
network = build(resnet.Bottleneck, [3, 4, 6, 3], num_classes=21).eval()
network.load_state_dict(state_dict(family))
with torch.inference_mode():
    outputs = {f"{height}x{width}": network(picture(height, width)).numpy() for height, width in SIZES}
np.savez_compressed(HERE / f"{family}.npz", **outputs)
print({name: (array.shape, float(np.abs(array).mean())) for name, array in outputs.items()})
