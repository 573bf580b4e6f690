"""Losses of depth that relate the values of an image to each other."""

from torch import Tensor

from refinenet_pl.tasks.losses.value_loss import ValueLoss, sum_per_image


class BerHu(ValueLoss):
    """Reverse Huber loss: L1 for small residuals, L2 for large ones; the weight is the number of valid values.

    For a residual x, it is |x| up to the threshold c and (x^2 + c^2) / 2c above it, with c = 0.2 max |x|.

    Source: Laina et al., "Deeper Depth Prediction with Fully Convolutional Residual Networks", 3DV 2016, Section 3.2. There the
    max is over the batch. Here it is over the image, so that the loss does not depend on the composition of the batch. c is a
    constant in the gradient: through c, an increase of the largest residual could decrease the loss of the others even more.

    Args:
        threshold: c as a share of the image's largest residual, in 0..1.
    """

    def __init__(self, threshold: float = 0.2):
        super().__init__()
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold is {threshold}; it must be greater than 0 and at most 1")
        self.threshold = threshold

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`."""
        residual = (prediction - target).where(valid, 0).abs()
        threshold = self.threshold * residual.detach().amax((1, 2, 3), keepdim=True)
        large = residual > threshold
        # An image without residuals has no large ones; 1 avoids the division by 0.
        divisor = threshold.where(threshold > 0, 1)
        quadratic = (residual * (residual / divisor) + threshold) / 2
        return sum_per_image(quadratic.where(large, residual)), sum_per_image(valid)


class ScaleInvariantLog(ValueLoss):
    """Scale-invariant error of log depth of each image; its weight is the image's number of valid values.

    With d the difference of the logs at the n valid values of an image: D = sum(d^2) / n - lambda sum(d)^2 / n^2, computed as
    the variance of d plus (1 - lambda) times its squared mean, which is equal and cannot become negative by rounding.

    Source: Eigen et al., "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network", NeurIPS 2014, Eq. 4 with
    lambda = 0.5. Without the square root of later work.

    Args:
        variance_focus: lambda, in 0..1. At 1 the loss does not depend on the prediction's scale.
        min_value: Predictions and targets are clamped to this min, in the target's unit. Predictions below have no gradient; a
            network for this loss should end with a positive function such as softplus.
    """

    def __init__(self, variance_focus: float = 0.5, min_value: float = 1e-3):
        super().__init__()
        if not 0 <= variance_focus <= 1:
            raise ValueError(f"variance_focus is {variance_focus}; it must be in 0..1")
        self.variance_focus = variance_focus
        self.min_value = _checked_min(min_value)

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`."""
        difference = _log_residual(prediction, target, valid, self.min_value)
        count = sum_per_image(valid)
        mean = sum_per_image(difference) / count.clamp(min=1)
        deviation = (difference - mean.view(-1, 1, 1, 1)).where(valid, 0)
        return sum_per_image(deviation.square()) + count * mean.square() * (1 - self.variance_focus), count


class GradientMatching(ValueLoss):
    """Differences of the residual between neighbors at several scales, per image.

    Scale k consists of every 2^k-th row and column. With R_k the residual there and M_k the number of its valid values, the
    loss of an image is the sum over k of 1 / M_k times the sum of |R_k(x + 1, y) - R_k(x, y)| + |R_k(x, y + 1) - R_k(x, y)|,
    each over neighbors that are both valid. Its weight is the image's number of valid values. The loss penalizes blurred and
    displaced edges but no constant offset; add it to another loss with `WeightedSum`.

    Source: Li and Snavely, "MegaDepth: Learning Single-View Depth Prediction from Internet Photos", CVPR 2018 (log residuals);
    Ranftl et al., "Towards Robust Monocular Depth Estimation: Mixing Datasets for Zero-shot Cross-dataset Transfer", TPAMI 2022
    (residuals of aligned disparity; there is no alignment here). As in the latter's code, each scale has its own M_k.

    Args:
        log: Use residuals of log depth, which makes the loss independent of the prediction's scale.
        scales: Number of scales.
        min_value: Min of the logs' arguments, see `ScaleInvariantLog`.
    """

    def __init__(self, log: bool = False, scales: int = 4, min_value: float = 1e-3):
        super().__init__()
        if scales < 1:
            raise ValueError(f"scales is {scales}; it must be at least 1")
        self.log = log
        self.scales = scales
        self.min_value = _checked_min(min_value)

    def per_image(self, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `ValueLoss.per_image`."""
        if self.log:
            residual = _log_residual(prediction, target, valid, self.min_value)
        else:
            residual = (prediction - target).where(valid, 0)
        means = residual.new_zeros(len(residual))
        for step in (2**scale for scale in range(self.scales)):
            coarse, known = residual[..., ::step, ::step], valid[..., ::step, ::step]
            across = coarse.diff(dim=-1).abs().where(known[..., 1:] & known[..., :-1], 0)
            down = coarse.diff(dim=-2).abs().where(known[..., 1:, :] & known[..., :-1, :], 0)
            means = means + (sum_per_image(across) + sum_per_image(down)) / sum_per_image(known).clamp(min=1)
        count = sum_per_image(valid)
        return means * count, count


def _checked_min(min_value: float) -> float:
    if min_value <= 0:
        raise ValueError(f"min_value is {min_value}; it must be greater than 0")
    return min_value


def _log_residual(prediction: Tensor, target: Tensor, valid: Tensor, min_value: float) -> Tensor:
    """Difference of the logs of clamped values, 0 where invalid."""
    return (prediction.clamp(min=min_value).log() - target.clamp(min=min_value).log()).where(valid, 0)
