"""Loss of segmentation that approximates the mean IoU."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from refinenet_pl.models.ops.resize import Upsampling
from refinenet_pl.tasks.losses.chunks import over_chunks, upsampler
from refinenet_pl.tasks.losses.segmentation_loss import RegionLoss

_INTEGERS = {torch.float64: torch.int64, torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}
"""Integers of the same size as floats."""


class LovaszSoftmax(RegionLoss):
    """Lovász-Softmax loss of the classes of each image, an extension of 1 - IoU; its weight is 1, see `RegionLoss`.

    The error of a labeled pixel is 1 - p_c in the class and p_c elsewhere. The loss of a class is the sum of the errors, in
    descending order, each multiplied by the increase of 1 - IoU if its pixel becomes wrong in addition to those before it.

    One class of one image is computed at a time, and again in the backward pass, so memory does not grow with the number of
    classes. The classes that occur must be known to the CPU, so a GPU is waited for once per batch.

    Source: Berman et al., "The Lovász-Softmax loss: A tractable surrogate for the optimization of the intersection-over-union
    measure in neural networks", CVPR 2018, Definition 2 and the multiclass loss, per image and over the classes present.

    Args:
        ignore_index: Label of the pixels to ignore.
        class_weights: Weight of each channel of the scores; None for 1 each.
    """

    def per_class(self, scores: Tensor, label: Tensor, how: Upsampling) -> tuple[Tensor, Tensor]:
        """See `RegionLoss.per_class`."""
        height, width = label.shape[1], label.shape[2]
        upsample = upsampler(scores, (height, width), how)
        log_sums = torch.cat(over_chunks(lambda logits, rows: logits.logsumexp(1), scores, (height, width), how), 1)

        def class_loss(score_map: Tensor, log_sum: Tensor, label: Tensor, number: int) -> Tensor:
            probability = (upsample(score_map[None, None], slice(0, height))[0, 0] - log_sum).exp().clamp(max=1)
            in_class = label == number
            errors = (1 - probability).where(in_class, probability).where(label >= 0, 0)
            return (errors * jaccard_weights(errors.detach(), in_class)).sum()

        pixels = torch.stack([(label == number).sum((1, 2)) for number in range(scores.shape[1])], 1)
        absent = scores[:0].sum()  # 0, part of the graph: without any class, the gradient is 0 instead of missing
        losses = []
        # Iterated over instead of indexed: the backward pass of each index would fill a tensor of the scores' size.
        for image, log_sum, mask, counts in zip(scores, log_sums, label, pixels.tolist(), strict=True):
            for number, (score_map, count) in enumerate(zip(image, counts, strict=True)):
                arguments = (score_map, log_sum, mask, number)
                found = checkpoint(class_loss, *arguments, use_reentrant=False, preserve_rng_state=False) if count else absent
                losses.append(found)
        return torch.stack(losses).view_as(pixels), pixels


def jaccard_weights(errors: Tensor, in_class: Tensor) -> Tensor:
    """Compute the gradient of the Lovász extension of 1 - IoU of a class, which is constant while the order of errors is.

    Args:
        errors: Float (H, W), at least 0; 0 at ignored pixels, which are therefore the last ones and change no other weight.
        in_class: Bool (H, W), True at one pixel or more.

    Returns:
        Float (H, W), without meaning at ignored pixels.
    """
    # Floats of at least 0 and their bits as integers have the same order; torch sorts integers several times as fast on CPUs.
    bits = errors.flatten().view(_INTEGERS[errors.dtype])
    order = (torch.iinfo(bits.dtype).max - bits).argsort(stable=True)
    inside = in_class.flatten()[order]
    size = inside.sum()
    intersection, union = size - inside.cumsum(0), size + (~inside).cumsum(0)
    intersection, union = intersection.to(errors.dtype), union.to(errors.dtype)
    # The differences of 1 - intersection / union in closed form; subtraction would lose most digits in float32.
    increases = (1 / union).where(inside, intersection / (union * (union - 1)))
    return torch.empty_like(increases).scatter_(0, order, increases).view_as(errors)
