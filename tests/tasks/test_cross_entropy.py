"""Cross-entropy in strips: the same loss and gradients as of the whole, in bounded memory."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from refinenet_pl.models.ops import chunked_upsampling
from refinenet_pl.models.ops.resize import resize
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.losses.cross_entropy import upsampled_cross_entropy

VOID = 255


def example(classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    scores = torch.randn(2, classes, 9, 12, dtype=torch.float64).requires_grad_()
    label = torch.randint(classes, (2, 35, 46))
    label[:, 3:9] = VOID
    return scores, label


@pytest.mark.parametrize("how", ["bilinear", "bilinear_aligned", "bicubic"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_strips_are_the_whole(how, weighted, rows, monkeypatch):
    scores, label = example()
    weights = torch.rand(5, dtype=torch.float64) if weighted else None
    whole = F.cross_entropy(resize(scores, (35, 46), how), label, weights, ignore_index=VOID, reduction="sum")
    (expected,) = torch.autograd.grad(whole, scores)
    monkeypatch.setattr(chunked_upsampling, "CHUNK_BYTES", rows * 4 * 2 * 5 * 46)
    total, weight = upsampled_cross_entropy(scores, label, how, weights, VOID)
    (found,) = torch.autograd.grad(total, scores)
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(found, expected)
    valid = label[label != VOID]
    assert float(weight) == pytest.approx(float(valid.numel() if weights is None else weights[valid].sum()))


@pytest.mark.parametrize("rows", [3, 1000])
def test_scores_of_the_labels_size_are_taken_as_they_are(rows, monkeypatch):
    scores = torch.randn(1, 4, 11, 13, requires_grad=True)
    label = torch.randint(4, (1, 11, 13))
    monkeypatch.setattr(chunked_upsampling, "CHUNK_BYTES", rows * 4 * 4 * 13)
    total, weight = upsampled_cross_entropy(scores, label, "bilinear", None, VOID)
    torch.testing.assert_close(total / weight, F.cross_entropy(scores, label))
    (found,) = torch.autograd.grad(total, scores)
    torch.testing.assert_close(found, torch.autograd.grad(F.cross_entropy(scores, label, reduction="sum"), scores)[0])


def test_a_validation_before_leaves_the_gradients():
    scores, label = example()
    with torch.inference_mode():
        upsampled_cross_entropy(scores.detach(), label, "bilinear", None, VOID)
    upsampled_cross_entropy(scores, label, "bilinear", None, VOID)[0].backward()
    assert scores.grad.abs().sum() > 0


class Largest(TorchDispatchMode):
    """The largest tensor that any operation gives, in bytes."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.bytes = max(self.bytes, result.nbytes)
        return result


def test_no_tensor_is_larger_than_a_strip():
    scores = torch.randn(2, 150, 40, 40, requires_grad=True)
    label = torch.randint(150, (2, 400, 400))
    whole = 4 * 2 * 150 * 400 * 400
    assert whole > 2 * chunked_upsampling.CHUNK_BYTES
    with Largest() as largest:
        total, _ = upsampled_cross_entropy(scores, label, "bilinear", None, VOID)
        total.backward()
    assert chunked_upsampling.CHUNK_BYTES / 2 < largest.bytes <= chunked_upsampling.CHUNK_BYTES


@pytest.mark.parametrize("shortcut", ["identity", "relu"])
def test_activations_computed_anew_give_the_same_gradients_from_less_memory(shortcut):
    arguments = {"width": 16, "deepest_width": 16, "classes": 3, "dropout": 0.0, "decoder_init": "scaled"}
    network = RefineNet("tu-test_resnet", None, shortcut=shortcut, **arguments)
    anew = RefineNet("tu-test_resnet", None, shortcut=shortcut, checkpoint_activations=True, **arguments)
    anew.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 96, 96)
    gradients, kept = [], []
    for each in (network, anew):
        held: dict[int, int] = {}

        def pack(tensor, held=held):
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        for module in each.train().encoder.modules():
            module.eval()
        weights = {parameter.untyped_storage().data_ptr() for parameter in each.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            scores = each.score_map(x)
        kept.append(sum(size for storage, size in held.items() if storage not in weights))
        scores.square().sum().backward()
        gradients.append([parameter.grad for parameter in each.parameters()])
    torch.testing.assert_close(*gradients)
    assert kept[1] < 0.75 * kept[0]
