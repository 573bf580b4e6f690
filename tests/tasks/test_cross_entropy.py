"""Chunked cross-entropy: loss, gradients and memory."""

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import Largest

from refinenet_pl.models.ops import chunked_upsampling
from refinenet_pl.models.ops.resize import resize
from refinenet_pl.tasks.losses.cross_entropy import upsampled_cross_entropy

VOID = 255


def example(size: tuple[int, int] = (35, 46)) -> tuple[torch.Tensor, torch.Tensor]:
    scores = torch.randn(2, 5, 9, 12, dtype=torch.float64).requires_grad_()
    label = torch.randint(5, (2, *size))
    label[:, 3:9] = VOID
    return scores, label


@pytest.mark.parametrize("size", [(35, 46), (9, 12)], ids=["upsampled", "same size"])
@pytest.mark.parametrize("how", ["bilinear", "bilinear_aligned", "bicubic"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_chunked_loss_equals_whole_loss(size, how, weighted, rows, monkeypatch):
    scores, label = example(size)
    weights = torch.rand(5, dtype=torch.float64) if weighted else None
    expected = F.cross_entropy(resize(scores, size, how), label, weights, ignore_index=VOID, reduction="sum")
    monkeypatch.setattr(chunked_upsampling, "CHUNK_BYTES", rows * 4 * 2 * 5 * size[1])
    total, weight = upsampled_cross_entropy(scores, label, how, weights, VOID)
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, scores)[0] for loss in (total, expected)))
    valid = label[label != VOID]
    assert float(weight) == pytest.approx(float(valid.numel() if weights is None else weights[valid].sum()))


def test_gradients_after_inference_mode():
    scores, label = example()
    with torch.inference_mode():
        upsampled_cross_entropy(scores.detach(), label, "bilinear", None, VOID)
    upsampled_cross_entropy(scores, label, "bilinear", None, VOID)[0].backward()
    assert scores.grad.abs().sum() > 0


def test_no_tensor_is_larger_than_a_chunk():
    scores = torch.randn(2, 150, 40, 40, requires_grad=True)
    label = torch.randint(150, (2, 400, 400))
    assert chunked_upsampling.CHUNK_BYTES < 4 * 2 * 150 * 400 * 400 / 2
    with Largest() as largest:
        upsampled_cross_entropy(scores, label, "bilinear", None, VOID)[0].backward()
    assert chunked_upsampling.CHUNK_BYTES / 2 < largest.bytes <= chunked_upsampling.CHUNK_BYTES
