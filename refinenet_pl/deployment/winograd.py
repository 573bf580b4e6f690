"""3x3 convolutions on CPUs with fewer multiplications: Winograd's F(4x4, 3x3) (Lavin and Gray, CVPR 2016, Section 4).

An output tile of 4x4 values needs 36 multiplications per pair of channels instead of 144. Including the transforms, a
convolution of 256 channels is up to 1.7 times as fast as oneDNN's direct one. On GPUs, cuDNN selects such algorithms itself.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 4
WINDOW = TILE + 2  # side of the input that an output tile depends on

POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""Points at which the algorithm evaluates its polynomials, in addition to infinity.

These have twice the rounding error of the direct convolution; those of the paper, 0, 1, -1, 2, -2, have three times as much.
"""

CHANNELS = range(192, 385)
"""Numbers of channels for which the algorithm is used.

With fewer, the transforms cost as much as the products save. With more, RefineNet's maps are the smallest, so the speed-up does
not justify the memory of the transformed weights, four times the size of the weights.
"""

CHUNK_BYTES = 32 * 2**20
"""Size of each temporary tensor of a chunk of rows, so that large images do not need several times their features' memory."""


class WinogradConv2d(nn.Module):
    """3x3 convolution with constant weights that returns the same as `conv` up to rounding.

    Args:
        conv: The convolution to replace, see `fits`.
    """

    kernels: Tensor
    window: Tensor
    tile: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        output, weight, window = _transforms()
        # In float64, because an error of the transform would affect all results.
        kernels = np.einsum("ai,bj,ocij->aboc", weight, weight, conv.weight.detach().double().cpu().numpy())
        kernels = kernels.reshape(-1, conv.in_channels, 1, 1)
        for name, matrix in {"kernels": kernels, "window": np.kron(window, window), "tile": np.kron(output, output)}.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(matrix)).float())
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach().clone())

    @staticmethod
    def fits(module: nn.Module) -> bool:
        """Test if a module is a convolution that is faster with this algorithm."""
        return (
            type(module) is nn.Conv2d
            and (module.kernel_size, module.stride, module.padding) == ((3, 3), (1, 1), (1, 1))
            and (module.dilation, module.groups, module.padding_mode) == ((1, 1), 1, "zeros")
            and module.in_channels in CHANNELS
            and module.out_channels in CHANNELS
            and module.weight.device.type == "cpu"
            and module.weight.dtype == torch.float32
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve: float32 (N, in_channels, H, W) -> (N, out_channels, H, W), in channels_last memory format."""
        number, channels, height, width = x.shape
        down, across = -(-height // TILE), -(-width // TILE)
        out_channels = len(self.kernels) // WINDOW**2
        out = x.new_empty(number, height, width, out_channels)
        rows = max(1, CHUNK_BYTES // (4 * WINDOW**2 * number * across * channels))
        # In addition to input and output, only the tensors of one chunk exist at a time.
        for top in range(0, down, rows):
            first, last = TILE * top, TILE * min(top + rows, down)
            seen = x[:, :, max(first - 1, 0) : last + 1]
            sides = (1, 1 + across * TILE - width, max(1 - first, 0), max(last + 1 - height, 0))
            windows = F.pad(seen, sides).permute(0, 2, 3, 1).unfold(1, WINDOW, TILE).unfold(2, WINDOW, TILE)
            chunk = windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, WINDOW**2, channels)
            # One convolution with 36 groups computes the 36 products of all tiles, faster in oneDNN than batched products.
            tiles = (self.window @ chunk).view(1, 1, -1, WINDOW**2 * channels).permute(0, 3, 1, 2)
            products = F.conv2d(tiles, self.kernels, groups=WINDOW**2).permute(0, 2, 3, 1)
            values = self.tile @ products.reshape(-1, WINDOW**2, out_channels)
            values = values.view(number, -1, across, TILE, TILE, out_channels).transpose(2, 3)
            values = values.reshape(number, last - first, across * TILE, out_channels)
            out[:, first:last] = values[:, : height - first, :width]
        return (out if self.bias is None else out.add_(self.bias)).permute(0, 3, 1, 2)


def _transforms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cook-Toom matrices of output tiles, (4, 6), weights, (6, 3), and input windows, (6, 6)."""
    points = np.array(POINTS)
    output, weight, window = np.zeros((TILE, WINDOW)), np.zeros((WINDOW, 3)), np.zeros((WINDOW, WINDOW))
    for place, point in enumerate(points):
        others = np.delete(points, place)
        output[:, place] = point ** np.arange(TILE)
        weight[place] = point ** np.arange(3) / np.prod(point - others)
        window[place, :-1] = np.poly(others)[::-1]
    output[-1, -1] = weight[-1, -1] = 1  # infinity
    window[-1] = np.poly(points)[::-1]
    return output, weight, window
