"""smp's networks with the packaged ImageNet weights."""

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from refinenet_pl.models import baselines
from refinenet_pl.models.encoders import PACKAGED, build_encoder, normalization_of
from refinenet_pl.tasks.segmentation import SegmentationTask

ENCODER = PACKAGED[0]


@pytest.fixture(params=["DeepLabV3Plus", "FPN", "PSPNet", "Unet"])
def baseline(request) -> type:
    return getattr(baselines, request.param)


@pytest.mark.parametrize("encoder", PACKAGED)
def test_encoder_has_the_packaged_weights(baseline, encoder):
    network = baseline(encoder, "imagenet", classes=5).eval()
    expected, found = build_encoder(encoder, "imagenet").state_dict(), network.encoder.state_dict()
    assert found and all(torch.equal(tensor, expected[key]) for key, tensor in found.items())
    assert network.normalization == normalization_of(encoder)
    assert network(torch.randn(1, 3, 64, 96)).shape == (1, 5, 64, 96)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("encoder", [ENCODER, "resnet18"])
def test_unused_modules_are_removed(encoder, mode):
    whole = smp.PSPNet(encoder, encoder_weights=None, classes=5).eval()
    with mode():
        network = baselines.PSPNet(encoder, None, classes=5).eval()
        kept = network.state_dict()
        assert 0 < len(kept) < len(whole.state_dict())
        network.load_state_dict({name: tensor for name, tensor in whole.state_dict().items() if name in kept})
        x = torch.randn(1, 3, 64, 96)
        assert torch.allclose(network(x), whole(x), atol=1e-5)


def test_rebuilt_from_a_checkpoint(baseline):
    network, checkpoint = baseline(ENCODER, "imagenet", classes=5), {}
    SegmentationTask(network, 5).on_save_checkpoint(checkpoint)
    stored = checkpoint["network"]
    assert stored["class_path"] == f"refinenet_pl.models.baselines.{baseline.__name__}"
    baseline(**stored["init_args"]).load_state_dict(network.state_dict())


def test_any_size_and_input_scale(baseline):
    network = baseline(ENCODER, None, 0.5, classes=5).eval()
    x = torch.randn(1, 3, 90, 122)
    assert network.score_map(x).shape == (1, 5, 45, 61) and network(x).shape == (1, 5, 90, 122)
    whole = baseline(ENCODER, None, classes=5).eval()
    whole.load_state_dict(network.state_dict())
    x = torch.randn(1, 3, 64, 96)
    assert torch.equal(whole(x), getattr(smp, baseline.__name__).forward(whole, x)), "smp's scores at a size that smp accepts"
    small = F.interpolate(x, scale_factor=0.5, mode="bilinear")
    assert torch.allclose(network.score_map(x), whole(small), atol=1e-4)
    with pytest.raises(ValueError, match="input_scale is 0"):
        baseline(ENCODER, None, 0.0)


def test_only_the_encoders_batch_normalization_is_frozen():
    network = baselines.DeepLabV3Plus(ENCODER, None, classes=5)
    SegmentationTask(network, 5).train()
    for part, training in (network.encoder, False), (network.decoder, True):
        assert {module.training for module in part.modules() if isinstance(module, _BatchNorm)} == {training}
