"""Models of the authors with parameters of our choice: names, shapes, and the forward pass by those names.

Written from the description of the authors' network alone, without a look at what it tests.
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

_SECOND_BLOCKS = {101: (3, 22), 152: (7, 35)}  # highest numbers of 3b1, 3b2, ... and of 4b1, 4b2, ...


def stages(depth: int) -> list[list[str]]:
    """Names of the encoder's blocks."""
    threes, fours = _SECOND_BLOCKS[depth]
    return [
        ["2a", "2b", "2c"],
        ["3a", *(f"3b{number}" for number in range(1, threes + 1))],
        ["4a", *(f"4b{number}" for number in range(1, fours + 1))],
        ["5a", "5b", "5c"],
    ]


def shapes(depth: int, blocks: int, improved: bool, prefix: str) -> dict[str, tuple[int, ...]]:
    """MATLAB shapes of the parameters, from the published list for ResNet-101 with four pooling blocks."""
    rows = [line.split("\t") for line in (HERE / "matconvnet_params_resnet101.tsv").read_text().splitlines()[1:]]
    wanted = {"encoder_resnet101", "decoder_improved_crp" if improved else "decoder_original_crp"}
    listed = {name: tuple(map(int, shape.split("x"))) for section, name, shape in rows if section in wanted}
    found = {}
    for name, shape in listed.items():
        place = re.search(r"_pb(\d)_|_pool(\d)_outvar_dimred", name)
        if place is None or int(place[1] or place[2]) <= blocks:
            found[re.sub(r"^adapt_(stage|input_path)", prefix, name)] = shape
    for name in (name for stage in stages(depth)[1:3] for name in stage[1:]):
        model = f"{name[0]}b1"  # those of ResNet-152 that ResNet-101 lacks are like the first
        found |= {key.replace(model, name): shape for key, shape in listed.items() if re.match(rf"(res|bn){model}_", key)}
    return found


def parameters(depth: int = 101, blocks: int = 4, improved: bool = False, prefix: str = "adapt_stage") -> Parameters:
    """Parameters with which signals neither die nor grow, and negative values wherever a ReLU could hide them."""
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
    """The authors' pass over a picture: enlarged by 1.2 as 8-bit values, 128 subtracted, through the graph of their names.

    Args:
        params: Parameters by MatConvNet's names.
        head: The classifier's filters and biases.
        image: uint8 (H, W, 3), RGB.
        depth: Of the ResNet.

    Returns:
        Scores, float32 (1, outputs, h, w).
    """
    height, width = (int(np.floor(side * 1.2 + 0.5)) for side in image.shape[:2])
    rows, columns = (
        matlab_line(image.shape[0], height, height / image.shape[0]),
        matlab_line(image.shape[1], width, width / image.shape[1]),
    )
    enlarged = np.einsum("yi,ijc,xj->cyx", rows, image.astype(np.float64), columns)
    data = torch.from_numpy((np.floor(enlarged + 0.5).clip(0, 255) - 128).astype(np.float32))[None]
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

    def batch_norm(self, x: Tensor, name: str) -> Tensor:
        mean, sigma = torch.from_numpy(self.params[f"{name}_moments"]).T[:, :, None, None]
        gain, bias = (torch.from_numpy(self.params[f"{name}_{part}"])[:, 0, None, None] for part in ("mult", "bias"))
        return gain * (x - mean) / sigma + bias

    def bottleneck(self, x: Tensor, name: str) -> Tensor:
        stride = 2 if name in ("3a", "4a", "5a") else 1
        y = self.batch_norm(self.conv(x, f"res{name}_branch2a", stride), f"bn{name}_branch2a").relu()
        y = self.batch_norm(self.conv(y, f"res{name}_branch2b"), f"bn{name}_branch2b").relu()
        y = self.batch_norm(self.conv(y, f"res{name}_branch2c"), f"bn{name}_branch2c")
        if name.endswith("a"):
            x = self.batch_norm(self.conv(x, f"res{name}_branch1", stride), f"bn{name}_branch1")
        return (x + y).relu()

    def residual_unit(self, x: Tensor, name: str) -> Tensor:
        return x + self.conv(self.conv(x.relu(), f"{name}_conv").relu(), f"{name}_conv_relu_varout_dimred")

    def pooling(self, x: Tensor, flow: str) -> Tensor:
        x = total = x.relu()
        for place in range(1, 9):
            before = f"{flow}_poolprev_relu_varout_pb1" if place == 1 else f"{flow}_pool{place - 1}_outvar_pb{place}"
            behind = f"{flow}_pool{place}_outvar_dimred"
            if f"{before}_filter" in self.params:
                x = F.max_pool2d(self.conv(x, before), 5, 1, 2)
            elif f"{behind}_filter" in self.params:
                x = self.conv(F.max_pool2d(x, 5, 1, 2), behind)
            else:
                return total
            total = total + x
        return total

    def scores(self, data: Tensor, head: tuple[np.ndarray, np.ndarray]) -> Tensor:
        x = F.max_pool2d(self.batch_norm(self.conv(data, "conv1", 2), "bn_conv1").relu(), 3, 2, 1)
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
                before = self.conv(x, f"mflow_conv_g{group - 1}_b3_joint_varout_dimred")
                y = self.conv(y, f"{self.prefix}{group}_b2_joint_varout_dimred")
                y = y + self.enlarged(before, y.shape[-2:])
            flow = f"mflow_conv_g{group}"
            x = self.pooling(y, flow)
            for unit in (1, 2, 3):
                x = self.residual_unit(x, f"{flow}_b{unit}")
        filters, biases = (torch.from_numpy(array) for array in head)
        return F.conv2d(x, filters.permute(3, 2, 0, 1), biases[0], padding=1)

    @staticmethod
    def enlarged(x: Tensor, size: tuple[int, int]) -> Tensor:
        """One factor for both sides, and what goes beyond is dropped; nothing where the size is right."""
        if x.shape[-2:] == size:
            return x
        factor = max(size[0] / x.shape[-2], size[1] / x.shape[-1])
        rows, columns = (
            torch.from_numpy(matlab_line(of, to, factor)).float() for of, to in zip(x.shape[-2:], size, strict=True)
        )
        return torch.einsum("yi,ncij,xj->ncyx", rows, x, columns)
