"""Dropout with a mask per sample."""

import pytest
import torch
from helpers.networks import tiny

from refinenet_pl.models.ops.dropout import Dropout, number_layers, set_sample_seeds

SEEDS = [11, 12, 2**63 - 1, 14]


def drop(x: torch.Tensor, seeds, layers: int = 1, rate: float = 0.5) -> list[torch.Tensor]:
    dropouts = torch.nn.ModuleList(Dropout(rate) for _ in range(layers))
    number_layers(dropouts)
    set_sample_seeds(dropouts, seeds)
    return [dropout(x) for dropout in dropouts]


@pytest.mark.parametrize("shape", [(4, 6, 5, 7), (4, 9)])
def test_mask_is_independent_of_batch_generator_and_format(shape):
    x = torch.rand(shape) + 1
    (whole,) = drop(x, SEEDS)
    (parts,) = zip(*(drop(x[part], SEEDS[part]) for part in (slice(0, 1), slice(1, 4))), strict=True)
    assert torch.equal(whole, torch.cat(parts))
    torch.manual_seed(5)
    assert torch.equal(drop(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x, SEEDS)[0], whole)


def test_masks_of_samples_seeds_and_layers_differ():
    first, second = drop(torch.ones(4, 8, 4, 4), SEEDS, layers=2)
    (other,) = drop(torch.ones(4, 8, 4, 4), [1, 2, 3, 4])
    assert len({tuple(mask.flatten().tolist()) for layer in (first, second, other) for mask in layer}) == 12


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_rate_mean_and_gradient(rate):
    x = torch.ones(4, 64, 32, 32, requires_grad=True)
    (dropped,) = drop(x, SEEDS, rate=rate)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped), "the gradient has the same mask"
    assert float((dropped == 0).float().mean()) == pytest.approx(rate, abs=0.01)
    assert torch.all((dropped == 0) | torch.isclose(dropped * (1 - rate), torch.tensor(1.0)))


@pytest.mark.parametrize(("seeds", "training"), [(None, True), (SEEDS, False)])
def test_equals_torch_without_seeds_and_in_evaluation(seeds, training):
    x, dropouts = torch.rand(4, 3, 8, 8), [layer.train(training) for layer in (Dropout(0.5), torch.nn.Dropout(0.5))]
    set_sample_seeds(dropouts[0], seeds)
    found = []
    for dropout in dropouts:
        torch.manual_seed(3)
        found.append(dropout(x))
    assert torch.equal(*found)


def test_refuses_another_number_of_seeds():
    with pytest.raises(ValueError, match="3 seeds for a batch of 4 samples"):
        drop(torch.ones(4, 3), SEEDS[:3])


@torch.no_grad()
def test_network_output_depends_only_on_the_sample():
    network = tiny("tu-tf_efficientnet_lite0").train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    x, found = torch.rand(4, 3, 64, 64), []
    for seeds, samples in (SEEDS, x), (SEEDS[2:3], x[2:3]), (SEEDS[:1], x[2:3]):
        set_sample_seeds(network, seeds)
        found.append(network(samples))
    whole, single, other = found
    torch.testing.assert_close(whole[2:3], single, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(single, other, atol=1e-3)


def test_layers_of_a_network_are_numbered():
    layers = [module.layer for module in tiny("resnet50").modules() if isinstance(module, Dropout) and module.p > 0]
    assert layers == [0, 1, 2]


def test_operator_passes_opcheck():
    x = torch.rand(2, 3, 4, 5)
    checks = torch.library.opcheck(torch.ops.refinenet_pl.dropout_factors, (x, torch.tensor(SEEDS[:2]), 0.5, 1))
    assert checks and set(checks.values()) == {"SUCCESS"}
