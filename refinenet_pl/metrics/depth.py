"""Errors of depth maps."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from refinenet_pl.dtypes import to_float64
from refinenet_pl.metrics.score import Score, ScoreSet
from refinenet_pl.metrics.values import RMSE, ValuesMetric, check_prediction, check_values, numbers

Average = Literal["image", "pixel"]
Crop = Literal["eigen"]

# Size of the images, rows and columns. Source: `eigen_crop` for NYUDv2 in pytorch/bts_eval.py of github.com/cleinc/bts, and the
# evaluation codes derived from it. The dataset's toolbox (get_projection_mask.m) has the same numbers, counted from 1, so its
# mask also includes row 44 and column 40.
_CROPS = {"eigen": ((480, 640), slice(45, 471), slice(41, 601))}

_THRESHOLDS = (1.25, 1.25**2, 1.25**3)


@dataclass(frozen=True)
class DepthScores(ScoreSet):
    """Errors of depth maps, from target depths t and predicted depths p in meters; log is the natural logarithm.

    Sources: Eigen et al., "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network", NIPS 2014, section 4.3,
    for all but `log10` and `silog`. `compute_errors` in pytorch/bts_eval.py of github.com/cleinc/bts (Lee et al., "From Big to
    Small", 2019) for all. `silog` is 100 times the scale invariant error of evaluate_depth.cpp in KITTI's development kit,
    whose relative squared error differs from `sq_rel`: it divides by t squared.

    Attributes:
        abs_rel: Mean of |p - t| / t.
        sq_rel: Mean of (p - t)^2 / t.
        rmse: Root of the mean of (p - t)^2.
        rmse_log: Root of the mean of (log p - log t)^2.
        log10: Mean of |log10 p - log10 t|.
        silog: 100 times the standard deviation of log p - log t. Independent of a factor of all predictions, up to rounding:
            for a variance of 0, it can be about 1e-6.
        delta1: Share of pixels with max(p / t, t / p) < 1.25.
        delta2: Share of pixels with max(p / t, t / p) < 1.25^2.
        delta3: Share of pixels with max(p / t, t / p) < 1.25^3.
    """

    SCORES: ClassVar = (
        Score("abs_rel", "AbsRel", "", False, decimals=3, margin=0.01),
        Score("sq_rel", "SqRel", "", False, decimals=3, margin=0.01),
        RMSE,
        Score("rmse_log", "RMSE log", "", False, decimals=3, margin=0.01),
        Score("log10", "log10", "", False, decimals=3, margin=0.005),
        Score("silog", "SILog", "", False, decimals=2, margin=1.0),
        Score("delta1", "delta1"),
        Score("delta2", "delta2"),
        Score("delta3", "delta3"),
    )

    abs_rel: float | None
    sq_rel: float | None
    rmse: float | None
    rmse_log: float | None
    log10: float | None
    silog: float | None
    delta1: float | None
    delta2: float | None
    delta3: float | None


class DepthErrors(ValuesMetric):
    """Errors of depth maps, averaged over images or over pixels; see `DepthScores`.

    Published code differs in the average, so scores are comparable only with the same one. `image`: pytorch/bts_eval.py of
    github.com/cleinc/bts, utils/evaluate_kitti.py of github.com/mrharicot/monodepth (Godard et al., CVPR 2017), and KITTI's
    development kit. `pixel`: matlab/error_metrics.m of github.com/irolaina/FCRN-DepthPrediction (Laina et al., 3DV 2016), and
    densetorch/engine/metrics.py of github.com/DrSleep/DenseTorch, of the author of Light-Weight RefineNet.

    Args:
        average: `image`: each score is computed for each image; the result is the mean over the images with pixels that count.
            `pixel`: each score is computed from all pixels of all images.
        min_depth: Pixels with a target up to this depth do not count; lower predictions are raised to it. More than 0, in
            meters.
        max_depth: Pixels with a target of at least this depth do not count; higher predictions are lowered to it. None for no
            limit. Both limits are themselves excluded, as in the code of BTS and of Monodepth.
        crop: `eigen`: only rows 45 to 470 and columns 41 to 600 of NYUDv2's images (480 x 640) count, counted from 0. None: all
            pixels.
    """

    sums: Tensor

    def __init__(
        self,
        average: Average = "image",
        min_depth: float = 1e-3,
        max_depth: float | None = None,
        crop: Crop | None = None,
    ):
        super().__init__()
        if average not in get_args(Average):
            raise ValueError(f"average is {average!r}; it must be one of {', '.join(get_args(Average))}")
        if crop is not None and crop not in _CROPS:
            raise ValueError(f"crop is {crop!r}; it must be None or one of {', '.join(_CROPS)}")
        self.average = average
        self.min_depth = min_depth
        self.max_depth = float("inf") if max_depth is None else max_depth
        if not 0 < self.min_depth < self.max_depth:
            raise ValueError(f"min_depth {min_depth} must be more than 0 and less than max_depth {max_depth}")
        self.crop = crop
        # Number of images or pixels, and the sum of each score or of its terms.
        self.add_state("sums", torch.zeros(1 + len(DepthScores.SCORES), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, valid: Tensor) -> None:
        """Add one batch of whole images.

        Args:
            prediction: Float (N, 1, H, W), in meters.
            target: Float (N, 1, H, W), in meters.
            valid: Bool (N, 1, H, W); other pixels do not count.

        Raises:
            ValueError: The shapes do not fit, a valid target is not finite, or the crop is for images of another size.
            FloatingPointError: A prediction that counts is not finite.
        """
        check_values(prediction, target, valid, 1)
        if self.crop is not None:
            size, rows, columns = _CROPS[self.crop]
            if target.shape[2:] != size:
                raise ValueError(
                    f"the crop {self.crop} is for images of {size[0]} x {size[1]} pixels (height x width), not of "
                    f"{target.shape[2]} x {target.shape[3]}"
                )
            prediction, target, valid = (values[..., rows, columns] for values in (prediction, target, valid))
        counted = valid & (target > self.min_depth) & (target < self.max_depth)
        check_prediction(prediction, counted)
        # One image at a time, which also bounds the memory of float64.
        for predicted, true, inside in zip(prediction, target, counted, strict=True):
            if inside.any():
                clamped = to_float64(predicted[inside]).clamp(self.min_depth, self.max_depth)
                sums = _sums(clamped, to_float64(true[inside]))
                self.sums += sums if self.average == "pixel" else torch.cat([sums.new_ones(1), _scores(sums)])

    def compute(self) -> Tensor:
        """Compute the scores over all processes.

        Returns:
            float64 (9,), in the order of the attributes of `DepthScores`; NaN without a pixel that counts.
        """
        return _scores(self.sums) if self.average == "pixel" else self.sums[1:] / self.sums[0]

    def scores(self) -> DepthScores:
        """Compute the scores over all processes."""
        return DepthScores(*numbers(self.compute()))


def _sums(prediction: Tensor, target: Tensor) -> Tensor:
    """Number of pixels, and the sums of the terms from which `_scores` computes each score."""
    error, log_error = (prediction - target).abs(), prediction.log() - target.log()
    ratio = torch.maximum(prediction / target, target / prediction)
    terms = [error / target, error.square() / target, error.square(), log_error.square()]
    terms += [(prediction.log10() - target.log10()).abs(), log_error, *(ratio < limit for limit in _THRESHOLDS)]
    return torch.stack([torch.ones_like(error).sum(), *(term.sum(dtype=torch.float64) for term in terms)])


def _scores(sums: Tensor) -> Tensor:
    abs_rel, sq_rel, squared, squared_log, log10, log, *deltas = sums[1:] / sums[0]
    # Rounding can make a variance of 0 negative.
    variance = (squared_log - log.square()).clamp(min=0)
    return torch.stack([abs_rel, sq_rel, squared.sqrt(), squared_log.sqrt(), log10, 100 * variance.sqrt(), *deltas])
