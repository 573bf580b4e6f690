"""Cross-entropy at the size of the picture, in bounded memory."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from refinenet_pl.models.ops.chunked_upsampling import chunks, sampling, upsample_chunk
from refinenet_pl.models.ops.resize import Upsampling


def cross_entropy(
    log_probabilities: Tensor, label: Tensor, class_weights: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Cross-entropy summed over labelled pixels, and the sum of their weights.

    Args:
        log_probabilities: Float (N, C, H, W).
        label: int64 (N, H, W).
        class_weights: Float, at least (C,); None for 1 each.
        ignore_index: Label of the pixels that do not count.

    Returns:
        Two float scalars.
    """
    weights = None if class_weights is None else class_weights[: log_probabilities.shape[1]]
    total = F.nll_loss(log_probabilities, label, weights, ignore_index=ignore_index, reduction="sum")
    # Without picking pixels out, for which a GPU would have to wait until it knows how many they are.
    valid = label != ignore_index
    weight = valid if class_weights is None else class_weights[label.where(valid, 0)] * valid
    return total, weight.sum().to(total.dtype)


def upsampled_cross_entropy(
    scores: Tensor, label: Tensor, how: Upsampling, class_weights: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of a score map that is enlarged to the labels' size, summed over labelled pixels.

    Where the enlarged scores are larger than one strip (`CHUNK_BYTES`), they are made strip by strip, and in the backward pass
    once more, so that never more than a few strips exist, whatever the number of classes and the size.

    Args:
        scores: Float (N, C, h, w).
        label: int64 (N, H, W).
        how: How scores are enlarged.
        class_weights: Float, at least (C,); None for 1 each.
        ignore_index: Label of the pixels that do not count.

    Returns:
        The sum and the sum of the pixels' weights, two float scalars.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    size = tuple(label.shape[-2:])
    smaller = tuple(scores.shape[-2:]) != size
    sides = zip(scores.shape[-2:], size, strict=True)
    samplings = [sampling(of, to, how, scores.dtype, scores.device) for of, to in sides] if smaller else None

    def part(scores: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        logits = upsample_chunk(scores, *samplings, rows) if smaller else scores[..., rows, :]
        return cross_entropy(logits.log_softmax(1), label[:, rows], class_weights, ignore_index)

    cuts = chunks(scores.shape, size)
    if len(cuts) == 1:
        return part(scores, cuts[0])
    sums = [checkpoint(part, scores, rows, use_reentrant=False, preserve_rng_state=False) for rows in cuts]
    total, weight = (torch.stack(values).sum() for values in zip(*sums, strict=True))
    return total, weight


class CrossEntropy(nn.Module):
    """Cross-entropy as sums over pixels, from log probabilities or from a score map.

    Args:
        class_weights: Weight of each channel of the scores; None for 1 each.
        ignore_index: Label of the pixels that do not count.
    """

    def __init__(self, class_weights: Sequence[float] | None, ignore_index: int):
        super().__init__()
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        self.ignore_index = ignore_index

    def forward(self, log_probabilities: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """See `cross_entropy`."""
        return cross_entropy(log_probabilities, label, self.class_weights, self.ignore_index)

    def of_score_map(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """See `upsampled_cross_entropy`."""
        return upsampled_cross_entropy(scores, label, how, self.class_weights, self.ignore_index)
