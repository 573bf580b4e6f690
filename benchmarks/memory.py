"""What a training step takes at most, and what it keeps for the backward pass, by where its loss is and what is made anew."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch import Tensor, nn

from benchmarks.compare import pictures_of_noise
from benchmarks.measure import give_back_memory, peak_memory, seconds_of
from refinenet_pl.memory import keep_freed_memory
from refinenet_pl.models.ops import chunked_upsampling
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.segmentation import SegmentationTask

# (network, encoder and its width, classes, pictures of 400x400)
NETWORKS = [
    ("RefineNet, ResNet-50", {"encoder_name": "resnet50"}, 21, 2),
    ("RefineNet, ResNet-50", {"encoder_name": "resnet50"}, 150, 2),
    (
        "RefineNet 32 wide, EfficientNet-Lite0",
        {"encoder_name": "tu-tf_efficientnet_lite0", "width": 32, "deepest_width": 64},
        150,
        8,
    ),
]
# (loss at, in strips, activations computed anew)
VARIANTS = [
    ("image", False, False),
    ("image", True, False),
    ("score_map", True, False),
    ("image", True, True),
    ("score_map", True, True),
]
SIDE = 400


def kept_for_backward(forward: Callable[[], Tensor], network: nn.Module) -> int:
    """Bytes of the tensors that a forward pass leaves for its backward pass, the network's weights apart."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = forward()
    del loss  # until here nothing of it is freed, and so no two have the same address
    return sum(size for address, size in kept.items() if address not in weights)


def training_memory(device: torch.device) -> list[dict]:
    """A row for each network and variant, each measured in a process of its own."""
    rows = []
    for name, arguments, classes, pictures in NETWORKS:
        for loss_at, in_strips, anew in VARIANTS:
            row = {
                "network": name, "classes": classes, "pictures": pictures, "size": SIDE, "loss_at": loss_at,
                "in_strips": in_strips, "checkpoint_activations": anew,
            }  # fmt: skip
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                rows.append(row | process.submit(_measured, row, arguments, device).result())
            print(rows[-1], flush=True)
    return rows


def _measured(row: dict, arguments: dict, device: torch.device) -> dict:
    # From the first tensor on, or what lies free in the heap by chance would count in one process and not in the next.
    give_back_memory()
    classes, pictures, side = row["classes"], row["pictures"], row["size"]
    torch.manual_seed(0)
    network = RefineNet(
        **arguments, encoder_weights=None, classes=classes, checkpoint_activations=row["checkpoint_activations"]
    )
    task = SegmentationTask(network, classes, loss_at=row["loss_at"]).to(device).train()
    batch = {
        "image": pictures_of_noise(pictures, side, device).clamp(0, 255).byte(),
        "mask": torch.randint(classes, (pictures, side, side), device=device),
    }

    def forward() -> Tensor:
        loss = task.training_step(batch, 0)
        task.global_loss.parts.clear()
        return loss

    def step() -> None:
        forward().backward()

    if not row["in_strips"]:
        chunked_upsampling.CHUNK_BYTES = 2**62
    step()  # gradients are there from now on, as in every step but the first
    gradients = sum(p.grad.nbytes for p in network.parameters() if p.grad is not None)
    kept, peak = kept_for_backward(forward, network), peak_memory(step, network, device)
    keep_freed_memory()
    seconds = min(seconds_of(step, device) for _ in range(2))
    return {
        "kept_bytes": kept,
        "peak_bytes": None if peak is None else peak + gradients,
        "least_ms": round(1e3 * seconds, 1),
    }
