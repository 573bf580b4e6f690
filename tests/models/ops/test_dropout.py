"""Dropout that belongs to samples."""

import pytest
import torch

from refinenet_pl import RefineNet
from refinenet_pl.models.ops.dropout import Dropout, number_layers, set_sample_seeds

SEEDS = [11, 12, 2**63 - 1, 14]


def drop(x: torch.Tensor, seeds, layers: int = 1, rate: float = 0.5) -> list[torch.Tensor]:
    dropouts = torch.nn.ModuleList(Dropout(rate) for _ in range(layers))
    number_layers(dropouts)
    set_sample_seeds(dropouts, seeds)
    return [dropout(x) for dropout in dropouts]


@pytest.mark.parametrize("shape", [(4, 6, 5, 7), (4, 9)])
def test_a_sample_is_the_same_in_any_batch(shape):
    x = torch.rand(shape) + 1
    (whole,) = drop(x, SEEDS)
    (parts,) = zip(*(drop(x[part], SEEDS[part]) for part in (slice(0, 1), slice(1, 4))), strict=True)
    assert torch.equal(whole, torch.cat(parts))
    torch.manual_seed(5)
    assert torch.equal(drop(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x, SEEDS)[0], whole)


def test_samples_seeds_and_layers_have_masks_of_their_own():
    first, second = drop(torch.ones(4, 8, 4, 4), SEEDS, layers=2)
    masks = [tuple(mask.flatten().tolist()) for layer in (first, second) for mask in layer]
    assert len(set(masks)) == 8
    (other,) = drop(torch.ones(4, 8, 4, 4), [1, 2, 3, 4])
    assert not torch.equal(other, first)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_rate_and_mean_are_those_of_dropout(rate):
    (dropped,) = drop(torch.ones(4, 64, 32, 32), SEEDS, rate=rate)
    assert float((dropped == 0).float().mean()) == pytest.approx(rate, abs=0.01)
    assert torch.all((dropped == 0) | torch.isclose(dropped, torch.tensor(1 / (1 - rate))))


def test_extremes_and_evaluation():
    x = torch.rand(4, 3, 2, 2)
    assert torch.equal(drop(x, SEEDS, rate=0.0)[0], x)
    assert torch.equal(drop(x, SEEDS, rate=1.0)[0], torch.zeros_like(x))
    evaluated = Dropout(0.5).eval()
    set_sample_seeds(evaluated, SEEDS)
    assert torch.equal(evaluated(x), x)


def test_without_seeds_it_is_torchs():
    x = torch.rand(4, 3, 8, 8)
    torch.manual_seed(3)
    (own,) = drop(x, None)
    torch.manual_seed(3)
    assert torch.equal(own, torch.nn.Dropout(0.5)(x))


def test_gradient_flows_through_what_is_kept():
    x = torch.ones(4, 3, 8, 8, requires_grad=True)
    (dropped,) = drop(x, SEEDS)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach())


def test_number_of_seeds_must_be_that_of_samples():
    with pytest.raises(ValueError, match="3 seeds for a batch of 4 samples"):
        drop(torch.ones(4, 3), SEEDS[:3])


def test_a_networks_training_scores_depend_on_the_sample_alone():
    network = RefineNet("tu-tf_efficientnet_lite0", encoder_weights=None, width=8, deepest_width=8, classes=3, dropout=0.5)
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    x = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        found = []
        for seeds, samples in (SEEDS, x), (SEEDS[2:3], x[2:3]), (SEEDS[:1], x[2:3]):
            set_sample_seeds(network, seeds)
            found.append(network(samples))
    whole, single, other = found
    assert torch.allclose(whole[2:3], single, atol=1e-6)
    assert not torch.allclose(single, other, atol=1e-3)


def test_the_layers_of_a_network_are_numbered():
    network = RefineNet("resnet18", encoder_weights=None, width=8, deepest_width=8, classes=3, dropout=0.5, encoder_depth=5)
    layers = [module.layer for module in network.modules() if isinstance(module, Dropout) and module.p > 0]
    assert layers == list(range(len(layers))) and len(layers) > 0
    two = RefineNet("resnet50", encoder_weights=None, width=8, deepest_width=8, classes=3, dropout=0.5)
    assert [m.layer for m in two.modules() if isinstance(m, Dropout) and m.p > 0] == [0, 1, 2]


def test_torchs_own_checks_of_the_operator():
    x = torch.rand(2, 3, 4, 5)
    checks = torch.library.opcheck(torch.ops.refinenet_pl.dropout_factors, (x, torch.tensor(SEEDS[:2]), 0.5, 1))
    assert checks and set(checks.values()) == {"SUCCESS"}
