"""RefineNets beside other networks: time, memory, multiply-adds."""

from collections.abc import Callable

import torch
from torch import nn
from tqdm import tqdm

from benchmarks.contenders import CLASSES, CONTENDERS
from benchmarks.measure import in_turns, multiply_adds, peak_memory, summary
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.evaluation.inference import whole_image_logits
from refinenet_pl.memory import keep_freed_memory
from refinenet_pl.tasks.losses.cross_entropy import upsampled_cross_entropy


def compare(device: torch.device, sizes: list[int], rounds: int, batch: int, dtype: torch.dtype) -> list[dict]:
    """Measure all contenders in one process, in turns, as `predict` and `fit` would run them: channels last, prepared.

    Args:
        device: Where to.
        sizes: Sides of the square pictures.
        rounds: How often each is timed.
        batch: Pictures of a training step; inference has one.
        dtype: What the device computes in; other than float32 by autocast.

    Returns:
        A row for each contender, size and mode.
    """
    rows = []
    for size in sizes:
        for mode, make in (("inference", inference), ("training", training_step)):
            pictures = 1 if mode == "inference" else batch
            tasks, found = {}, {}
            for contender in tqdm(CONTENDERS, desc=f"{mode} at {size}x{size}"):
                network = contender().to(device, memory_format=torch.channels_last)
                found[contender.name] = {
                    "parameters": sum(parameter.numel() for parameter in network.parameters()),
                    "multiply_adds": multiply_adds(network, torch.zeros(1, 3, size, size, device=device)),
                }
                tasks[contender.name] = make(network, pictures, size, device, dtype)
                found[contender.name]["peak_bytes"] = peak_memory(tasks[contender.name], network, device)
            keep_freed_memory()
            turns = rounds if mode == "inference" or device.type == "cuda" else min(rounds, 3)
            for name, seconds in in_turns(tasks, device, turns).items():
                row = {"network": name, "mode": mode, "size": size, "pictures": pictures}
                rows.append(row | found[name] | summary(seconds))
    return rows


def inference(network: nn.Module, pictures: int, size: int, device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    """Logits at the pictures' size."""
    x = pictures_of_noise(pictures, size, device)
    prepare_for_inference(network)

    def run() -> torch.Tensor:
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return whole_image_logits(network, x)

    return run


def training_step(
    network: nn.Module, pictures: int, size: int, device: torch.device, dtype: torch.dtype
) -> Callable[[], object]:
    """Forward, loss at the pictures' size, backward and SGD, with batch normalisation frozen as in the paper's recipes."""
    x = pictures_of_noise(pictures, size, device)
    label = torch.randint(CLASSES, (pictures, size, size), device=device)
    score_map = getattr(network, "score_map", network)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)

    def run() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            scores = score_map(x)
        total, weight = upsampled_cross_entropy(scores, label, "bilinear", None, 255)
        (total / weight).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def pictures_of_noise(number: int, size: int, device: torch.device) -> torch.Tensor:
    """Float (number, 3, size, size), channels last."""
    return torch.randn(number, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
