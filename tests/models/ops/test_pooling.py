"""Variants of the 5x5 pooling: the same values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from refinenet_pl.models.ops import pooling
from refinenet_pl.models.ops.pooling import _pool, _pool_backward, pool, pool_along_sides

layouts = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])


@layouts
@pytest.mark.parametrize("size", [(16, 16), (7, 9), (1, 1), (2, 40)])
@pytest.mark.parametrize("limit", [1, 2000, 2**30])
def test_pooling_along_sides_equals_the_pooling(size, limit, layout, monkeypatch):
    monkeypatch.setattr(pooling, "CHUNK_BYTES", limit)
    x = torch.randn(2, 5, *size).contiguous(memory_format=layout)
    found = pool_along_sides(x)
    assert torch.equal(found, F.max_pool2d(x, 5, 1, 2)) and found.is_contiguous(memory_format=layout)


@layouts
@pytest.mark.slow
def test_operator_equals_the_pooling(layout):
    x = torch.randn(2, 3, 9, 7).contiguous(memory_format=layout).requires_grad_()
    values, indices = _pool(x)
    torch.library.opcheck(_pool, (x,))
    torch.library.opcheck(_pool_backward, (torch.randn_like(values), x.detach(), indices))
    assert torch.equal(values, pool(x))
    weight = torch.randn_like(values)
    assert torch.equal(*(torch.autograd.grad((pooled * weight).sum(), x)[0] for pooled in (values, pool(x))))
