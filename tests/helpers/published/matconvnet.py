"""Synthetic models in the authors' format: names, shapes, and a forward pass by these names.

It is a second implementation, written from the description of the authors' network and independent of the tested code.
"""

import re
import zlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.matlab import matlab_line
from helpers.published.weights import HERE

Parameters = dict[str, np.ndarray]


def stages(depth: int) -> list[list[str]]:
    """Names of the encoder's blocks."""
    threes, fours = {101: (3, 22), 152: (7, 35)}[depth]  # numbers of blocks 3b1, 3b2, ... and 4b1, 4b2, ...
    middle = [["3a", *(f"3b{n}" for n in range(1, threes + 1))], ["4a", *(f"4b{n}" for n in range(1, fours + 1))]]
    return [["2a", "2b", "2c"], *middle, ["5a", "5b", "5c"]]


def shapes(depth: int, blocks: int, improved: bool, prefix: str) -> dict[str, tuple[int, ...]]:
    """MATLAB shapes of the parameters, from the published list for ResNet-101 with four pooling blocks."""
    rows = [line.split("\t") for line in (HERE / "matconvnet_params_resnet101.tsv").read_text().splitlines()[1:]]
    sections = {"encoder_resnet101", "decoder_improved_crp" if improved else "decoder_original_crp"}
    listed = {name: tuple(map(int, shape.split("x"))) for section, name, shape in rows if section in sections}
    found = {}
    for name, shape in listed.items():
        number = re.search(r"_pb(\d)_|_pool(\d)_outvar_dimred", name)
        if number is None or int(number[1] or number[2]) <= blocks:
            found[re.sub(r"^adapt_(stage|input_path)", prefix, name)] = shape
    for name in (name for stage in stages(depth)[1:3] for name in stage[1:]):
        first = f"{name[0]}b1"  # the additional blocks of ResNet-152 are like the first
        found |= {key.replace(first, name): shape for key, shape in listed.items() if re.match(rf"(res|bn){first}_", key)}
    return found


def parameters(depth: int = 101, blocks: int = 4, improved: bool = False, prefix: str = "adapt_stage") -> Parameters:
    """Parameters whose activations neither vanish nor explode, and have both signs before each ReLU."""
    return {name: _values(name, shape) for name, shape in shapes(depth, blocks, improved, prefix).items()}


def classifier(outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Filters and biases of the head."""
    return _values("filters_filter", (3, 3, 256, outputs)), _values("head_bias", (1, outputs))


def _values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("_filter"):
        return rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(np.prod(shape[:3])))
    if name.endswith("_moments"):
        return np.stack([rng.normal(0, 0.2, shape[0]), rng.uniform(0.7, 1.3, shape[0])], 1).astype(np.float32)
    if name.endswith("_mult"):
        return rng.uniform(0.3, 0.8, shape).astype(np.float32)
    return rng.normal(0, 0.2, shape).astype(np.float32)


def forward(params: Parameters, head: tuple[np.ndarray, np.ndarray], image: np.ndarray, depth: int = 101) -> Tensor:
    """The authors' forward pass: upsample an image by 1.2 to 8-bit values, subtract 128, and evaluate the graph of their names.

    Args:
        params: Parameters by MatConvNet's names.
        head: Filters and biases of the classifier.
        image: uint8 (H, W, 3), RGB.
        depth: Depth of the ResNet.
    """
    height, width = (int(np.floor(side * 1.2 + 0.5)) for side in image.shape[:2])
    rows = matlab_line(image.shape[0], height, height / image.shape[0])
    columns = matlab_line(image.shape[1], width, width / image.shape[1])
    upsampled = np.einsum("yi,ijc,xj->cyx", rows, image.astype(np.float64), columns)
    data = torch.from_numpy((np.floor(upsampled + 0.5).clip(0, 255) - 128).astype(np.float32))[None]
    return _Graph(params, stages(depth)).scores(data, head)


class _Graph:
    def __init__(self, params: Parameters, blocks: list[list[str]]):
        self.params = params
        self.blocks = blocks
        self.prefix = "adapt_stage" if "adapt_stage1_b1_conv_bias" in params else "adapt_input_path"

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        filters = torch.from_numpy(self.params[f"{name}_filter"]).permute(3, 2, 0, 1)
        bias = self.params.get(f"{name}_bias")
        return F.conv2d(x, filters, None if bias is None else torch.from_numpy(bias)[0], stride, filters.shape[-1] // 2)

    def conv_norm(self, x: Tensor, name: str, normalization: str, stride: int = 1) -> Tensor:
        mean, sigma = torch.from_numpy(self.params[f"{normalization}_moments"]).T[:, :, None, None]
        gain, bias = (torch.from_numpy(self.params[f"{normalization}_{part}"])[:, 0, None, None] for part in ("mult", "bias"))
        return gain * (self.conv(x, name, stride) - mean) / sigma + bias

    def bottleneck(self, x: Tensor, name: str) -> Tensor:
        stride = 2 if name in ("3a", "4a", "5a") else 1
        y = self.conv_norm(x, f"res{name}_branch2a", f"bn{name}_branch2a", stride).relu()
        y = self.conv_norm(y, f"res{name}_branch2b", f"bn{name}_branch2b").relu()
        y = self.conv_norm(y, f"res{name}_branch2c", f"bn{name}_branch2c")
        if name.endswith("a"):
            x = self.conv_norm(x, f"res{name}_branch1", f"bn{name}_branch1", stride)
        return (x + y).relu()

    def residual_unit(self, x: Tensor, name: str) -> Tensor:
        return x + self.conv(self.conv(x.relu(), f"{name}_conv").relu(), f"{name}_conv_relu_varout_dimred")

    def pooling(self, x: Tensor, flow: str) -> Tensor:
        x = total = x.relu()
        for number in range(1, 9):
            first = f"{flow}_poolprev_relu_varout_pb1" if number == 1 else f"{flow}_pool{number - 1}_outvar_pb{number}"
            second = f"{flow}_pool{number}_outvar_dimred"
            if f"{first}_filter" in self.params:
                x = F.max_pool2d(self.conv(x, first), 5, 1, 2)
            elif f"{second}_filter" in self.params:
                x = self.conv(F.max_pool2d(x, 5, 1, 2), second)
            else:
                return total
            total = total + x
        return total

    def scores(self, data: Tensor, head: tuple[np.ndarray, np.ndarray]) -> Tensor:
        x = F.max_pool2d(self.conv_norm(data, "conv1", "bn_conv1", 2).relu(), 3, 2, 1)
        taps = []
        for stage in self.blocks:
            for name in stage:
                x = self.bottleneck(x, name)
            taps.insert(0, x)
        for group, tap in enumerate(taps, start=1):
            y = self.conv(tap, f"p_ims1d2_outl{group}_dimred")
            for unit in (1, 2):
                y = self.residual_unit(y, f"{self.prefix}{group}_b{unit}")
            if group > 1:
                coarse = self.conv(x, f"mflow_conv_g{group - 1}_b3_joint_varout_dimred")
                y = self.conv(y, f"{self.prefix}{group}_b2_joint_varout_dimred")
                y = y + self.upsampled(coarse, y.shape[-2:])
            flow = f"mflow_conv_g{group}"
            x = self.pooling(y, flow)
            for unit in (1, 2, 3):
                x = self.residual_unit(x, f"{flow}_b{unit}")
        filters, biases = (torch.from_numpy(array) for array in head)
        return F.conv2d(x, filters.permute(3, 2, 0, 1), biases[0], padding=1)

    @staticmethod
    def upsampled(x: Tensor, size: tuple[int, int]) -> Tensor:
        """Upsample by one factor for both sides and crop; return a map of the right size unchanged."""
        if x.shape[-2:] == size:
            return x
        factor = max(size[0] / x.shape[-2], size[1] / x.shape[-1])
        sides = zip(x.shape[-2:], size, strict=True)
        rows, columns = (torch.from_numpy(matlab_line(source, target, factor)).float() for source, target in sides)
        return torch.einsum("yi,ncij,xj->ncyx", rows, x, columns)
