"""Class probabilities of whole images: scales, horizontal flips, tiles, and two protocols for averaging them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import ceil
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinenet_pl.datasets.short_edge import short_edge_factor
from refinenet_pl.dtypes import to_float64
from refinenet_pl.evaluation.test_time_augmentation import View, average, fuse_in_log_space
from refinenet_pl.evaluation.tiles import TiledScoreMap, Tiles, scaled_rows
from refinenet_pl.models.dense_network import DenseNetwork, as_dense_network
from refinenet_pl.models.ops.bicubic import Factor, resize_bicubic
from refinenet_pl.models.ops.chunked_upsampling import exact_products
from refinenet_pl.models.refinenet import VoidChannel

Protocol = Literal["standard", "paper"]


@dataclass(frozen=True)
class Inference:
    """Prediction of whole images at their own size.

    Args:
        protocol: `standard`: images are resized by each scale, the logits are resized to the image's size, and softmax
            probabilities are averaged there; void is never predicted. `paper`, as in the authors' MATLAB test code: the short
            edge is first limited to `short_edge`, sizes are rounded up, score maps are averaged and upsampled in log space,
            probabilities of several scales are rounded to 8 bits, and void, if it is an output, can be predicted.
        scales: Factors by which the images are resized.
        flip: Also predict each scale horizontally flipped. The authors did not.
        tile: (height, width) of tiles, rounded up to multiples of 40, into which larger scaled images are divided; None to
            process images whole, as the authors did. With tiles, the memory in addition to the image does not grow with its
            height; it grows with its width, the classes, and the number of views.
        tile_overlap: Min share of a tile that its neighbor also covers.
        short_edge: Min and max short edge of `paper`, in pixels.
        void_channel: Position of void in the channels of the network's logits; None if there is no void.

    Raises:
        ValueError: A value is outside its range, or tiles are used with `paper`.
    """

    protocol: Protocol = "standard"
    scales: Sequence[float] = (1.0,)
    flip: bool = False
    tile: tuple[int, int] | None = None
    tile_overlap: float = 0.25
    short_edge: tuple[int, int] = (450, 800)
    void_channel: VoidChannel | None = None

    def __post_init__(self) -> None:
        if not self.scales or not all(scale > 0 for scale in self.scales):
            raise ValueError(f"scales is {list(self.scales)}; give one or more factors greater than 0")
        if self.tile is not None and min(self.tile) < 1:
            raise ValueError(f"tile is {list(self.tile)}; give a height and a width of 1 or more")
        if not 0 <= self.tile_overlap < 0.9:
            raise ValueError(f"tile_overlap is {self.tile_overlap}; it must be at least 0 and less than 0.9")
        if self.tile is not None and self.protocol == "paper":
            raise ValueError("tile is for protocol: standard; the authors' protocol processes images whole")

    @property
    def predicts_void(self) -> bool:
        """True if a prediction can be void."""
        return self.protocol == "paper" and self.void_channel is not None

    @property
    def name(self) -> str:
        """Name of the views, to distinguish their scores; empty for one view at scale 1."""
        parts = ["multi-scale"] if len(self.scales) > 1 else [f"scale {s:g}" for s in self.scales if s != 1.0]
        return ", ".join(parts + ["flip"] * self.flip)

    def log_probabilities(
        self, network: nn.Module | DenseNetwork, image: Tensor, normalize: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[slice, Tensor]]:
        """Predict class probabilities at the images' own size, in chunks of rows to limit the memory.

        Args:
            network: Any module that maps normalized images to logits, see `as_dense_network`.
            image: uint8 or float (N, C, H, W) in 0..255.
            normalize: Maps uint8 or float (N, C, H, W) in 0..255 to the network's input.

        Yields:
            The rows, and their log probabilities, float32 (N, classes, rows, W), with void after the classes if it can be
            predicted.
        """
        height, width = image.shape[-2:]
        dense = as_dense_network(network)
        views = [view for scale in self.scales for view in self._views(dense, image, scale, normalize)]
        if self.protocol == "paper":
            yield from fuse_in_log_space(views, (height, width))
        else:
            yield from average(views, (height, width))

    def _views(
        self, network: DenseNetwork, image: Tensor, scale: float, normalize: Callable[[Tensor], Tensor]
    ) -> Iterator[View]:
        image = image.as_subclass(Tensor)
        size = self._size(image, scale)
        flips = (False, True)[: 1 + self.flip]
        tiles = None if self.tile is None else Tiles.over(size, self.tile, self.tile_overlap)
        # The logits of a flipped image are flipped back when their columns are read, to avoid a copy.
        if tiles is not None:
            for flipped in flips:
                scores = TiledScoreMap(
                    lambda part: network.score_map(normalize(part)),
                    partial(_rows, image, size, flipped),
                    tiles,
                    {None: slice(None), "first": slice(1, None), "last": slice(None, -1)}[self.void_channel],
                )
                yield View(scores, size, tiles.covered, flipped, network.upsampling, in_pieces=True)
            return
        scaled = normalize(self._scaled(image, scale))
        for flipped in flips:
            logits = network.score_map(scaled.flip(-1) if flipped else scaled)
            # Averaged in at least float32, regardless of the network's precision.
            logits = void_last(logits, self.void_channel).to(torch.promote_types(logits.dtype, torch.float32))
            if self.void_channel and not self.predicts_void:
                logits = logits[:, :-1]
            yield View(logits, size, size, flipped, network.upsampling, in_pieces=self.tile is not None)

    def _size(self, image: Tensor, scale: float) -> tuple[int, int]:
        """(height, width) of the image at one scale."""
        height, width = image.shape[-2:]
        if self.protocol == "paper":
            factor = self._factor(image, scale)
            return ceil(factor * height), ceil(factor * width)  # as MATLAB's imresize rounds
        return max(1, round(scale * height)), max(1, round(scale * width))

    def _factor(self, image: Tensor, scale: float) -> float:
        """Factor of the authors' protocol, which limits the short edge and then applies the scale."""
        return short_edge_factor(image.shape[-2:], self.short_edge, scale)

    def _scaled(self, image: Tensor, scale: float) -> Tensor:
        """The image at one scale: uint8 or float (N, 3, h, w) in 0..255."""
        size = self._size(image, scale)
        if self.protocol == "paper":
            # imresize returns an 8-bit image, unless the image has floating-point values. In float64, because float32 rounds
            # some values to the other side of a half.
            exact = to_float64(image)
            factor = Fraction(self._factor(image, scale)).limit_denominator(100_000)
            growth = Factor.of(*factor.as_integer_ratio(), like=exact)
            with exact_products(exact.device):
                resized = resize_bicubic(exact, size, (growth, growth))
            levels = resized if image.is_floating_point() else resized.round().clamp(0, 255)
            return levels.float().to(image.device)
        if size == tuple(image.shape[-2:]):
            return image
        if self.tile:
            # The image may be too large for a float copy.
            return scaled_rows(image, size, slice(0, size[0]))
        return F.interpolate(image.float(), size, mode="bilinear", antialias=True)


def _rows(image: Tensor, size: tuple[int, int], flipped: bool, rows: slice) -> Tensor:
    part = scaled_rows(image, size, rows)
    return part.flip(-1) if flipped else part


def void_last(logits: Tensor, void_channel: VoidChannel | None) -> Tensor:
    """Move the void channel after the classes, so that the id of a class is its channel."""
    return torch.roll(logits, -1, 1) if void_channel == "first" else logits
