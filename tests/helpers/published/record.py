"""Record the outputs of the published code for the weights of `weights.py`.

Usage: PYTHONPATH=tests:CHECKOUT python tests/helpers/published/record.py FAMILY, where FAMILY is drsleep_refinenet50 and CHECKOUT a
copy of github.com/DrSleep/refinenet-pytorch, or lightweight_refinenet50 and github.com/DrSleep/light-weight-refinenet.
That code is for non-commercial use and is not kept here.
"""

import sys

import numpy as np
import torch
from models import resnet  # of the checkout

from helpers.published.weights import HERE, SIZES, picture, state_dict

family = sys.argv[1]
build = resnet.RefineNet if family.startswith("drsleep") else resnet.ResNetLW
network = build(resnet.Bottleneck, [3, 4, 6, 3], num_classes=21).eval()
network.load_state_dict(state_dict(family))
with torch.inference_mode():
    outputs = {f"{height}x{width}": network(picture(height, width)).numpy() for height, width in SIZES}
np.savez_compressed(HERE / f"{family}.npz", **outputs)
print({name: (array.shape, float(np.abs(array).mean())) for name, array in outputs.items()})
