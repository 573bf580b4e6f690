"""Record the outputs of the published code for the weights of `weights.py`.

Usage: PYTHONPATH=tests:CHECKOUT python tests/helpers/published/record.py FAMILY, with drsleep_refinenet50 and a CHECKOUT of
github.com/DrSleep/refinenet-pytorch, or lightweight_refinenet50 and github.com/DrSleep/light-weight-refinenet.
The license of that code allows non-commercial use only, so this repository has no copy of it.
"""

import sys

import numpy as np
import torch
from models import resnet  # of the checkout

from helpers.published.weights import HERE, SIZES, image, state_dict

family = sys.argv[1]
build = resnet.RefineNet if family.startswith("drsleep") else resnet.ResNetLW
network = build(resnet.Bottleneck, [3, 4, 6, 3], num_classes=21).eval()
network.load_state_dict(state_dict(family))
with torch.inference_mode():
    outputs = {f"{height}x{width}": network(image(height, width)).numpy() for height, width in SIZES}
np.savez_compressed(HERE / f"{family}.npz", **outputs)
print({name: (array.shape, float(np.abs(array).mean())) for name, array in outputs.items()})
