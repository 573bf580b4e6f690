"""Cross-entropy at the image's size, in bounded memory."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refinenet_pl.models.ops.resize import Upsampling
from refinenet_pl.tasks.losses.chunks import over_chunks


def cross_entropy(
    log_probabilities: Tensor, label: Tensor, class_weights: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Cross-entropy summed over labeled pixels, and the sum of their weights.

    Args:
        log_probabilities: Float (N, C, H, W).
        label: int64 (N, H, W).
        class_weights: Float, at least (C,); None for 1 each.
        ignore_index: Label of the pixels to ignore.

    Returns:
        The summed loss and the sum of the weights, two float scalars.
    """
    weights = None if class_weights is None else class_weights[: log_probabilities.shape[1]]
    total = F.nll_loss(log_probabilities, label, weights, ignore_index=ignore_index, reduction="sum")
    # No boolean indexing: it makes a GPU wait until the number of pixels is known.
    valid = label != ignore_index
    weight = valid if class_weights is None else class_weights[label.where(valid, 0)] * valid
    return total, weight.sum().to(total.dtype)


def upsampled_cross_entropy(
    scores: Tensor, label: Tensor, how: Upsampling, class_weights: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of a score map upsampled to the labels' size, summed over labeled pixels.

    Computed in chunks of rows, see `over_chunks`.

    Args:
        scores: Float (N, C, h, w).
        label: int64 (N, H, W).
        how: Upsampling method.
        class_weights: Float, at least (C,); None for 1 each.
        ignore_index: Label of the pixels to ignore.

    Returns:
        The summed loss and the sum of the weights, two float scalars.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))

    def chunk_loss(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        return cross_entropy(logits.log_softmax(1), label[:, rows], class_weights, ignore_index)

    sums = over_chunks(chunk_loss, scores, (label.shape[-2], label.shape[-1]), how)
    total, weight = (torch.stack(values).sum() for values in zip(*sums, strict=True))
    return total, weight


class CrossEntropy(nn.Module):
    """Cross-entropy as sums over pixels, from log probabilities: the loss that evaluations report.

    Args:
        class_weights: Weight of each channel of the scores; None for 1 each.
        ignore_index: Label of the pixels to ignore.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Sequence[float] | None, ignore_index: int):
        super().__init__()
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        self.ignore_index = ignore_index

    def forward(self, log_probabilities: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """See `cross_entropy`."""
        return cross_entropy(log_probabilities, label, self.class_weights, self.ignore_index)
