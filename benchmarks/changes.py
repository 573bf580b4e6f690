"""What each change to the network's computation gives, one on top of the other."""

import copy
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.compare import inference, pictures_of_noise, training_step
from benchmarks.contenders import CONTENDERS
from benchmarks.measure import in_turns, multiply_adds, summary
from refinenet_pl.deployment.folding import fold_batch_norm
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.deployment.winograd import CHANNELS, WinogradConv2d
from refinenet_pl.memory import keep_freed_memory
from refinenet_pl.models.blocks import ChainedResidualPooling
from refinenet_pl.models.ops.pooling import pool, pool_along_sides

NETWORKS = ["RefineNet, ResNet-50", "Light-Weight RefineNet, ResNet-50", "RefineNet 32 wide, EfficientNet-Lite0"]
FREED = NETWORKS
PLAIN, PREPARED, ALONE = "contiguous, as torch makes it", "+ 1x1 in a row merged, Winograd", "its convolutions alone"


def on_cpu(size: int, rounds: int) -> list[dict]:
    """Inference of one picture in float32: from a network as torch makes it to the prepared one."""
    device, rows = torch.device("cpu"), []
    for contender in (contender for contender in CONTENDERS if contender.name in NETWORKS):
        network = contender()
        x = pictures_of_noise(1, size, device)
        folded = copy.deepcopy(network)
        fold_batch_norm(folded)
        sides = copy.deepcopy(folded)
        for module in sides.modules():
            if isinstance(module, ChainedResidualPooling):
                module.pool = pool_along_sides
        prepared = prepare_for_inference(copy.deepcopy(network))
        tasks = {
            PLAIN: _run(_contiguous(network), x.contiguous()),
            "channels last": _run(network, x),
            "+ batch normalisation folded": _run(folded, x),
            "+ pooling along the sides": _run(sides, x),
            PREPARED: _run(prepared, x),
            ALONE: _convolutions(network, x),
        }
        keep_freed_memory()
        reference = tasks[PLAIN]()
        for name, seconds in in_turns(tasks, device, rounds).items():
            error = None if name == ALONE else float((tasks[name]() - reference).abs().max() / reference.abs().max())
            rows.append({"network": contender.name, "change": name, "largest_difference": error} | summary(seconds))
    return rows


def freed_memory(size: int, rounds: int) -> list[dict]:
    """Inference of one picture, channels last, with and without freed memory kept: processes of their own, in turns."""
    rows = []
    for name in FREED:
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(rounds):
            for kept, values in seconds.items():
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                    values.append(process.submit(_seconds_with, name, size, kept).result())
        for kept, values in seconds.items():
            rows.append({"network": name, "freed_memory": "kept" if kept else "given back"} | summary(values))
    return rows


def _seconds_with(name: str, size: int, kept: bool) -> float:
    if kept:
        keep_freed_memory()
    device = torch.device("cpu")
    network = next(contender for contender in CONTENDERS if contender.name == name)()
    task = _run(network, pictures_of_noise(1, size, device))
    return statistics.median(in_turns({name: task}, device, 3)[name])


def on_gpu(device: torch.device, size: int, rounds: int) -> list[dict]:
    """Inference of one picture and training of ResNet-101 at 480x480: from eager float32 to compiled bfloat16."""
    rows = []
    for name in [*NETWORKS, "RefineNet, ResNet-101"]:
        for mode, make, pictures, side in (("inference", inference, 1, size), ("training", training_step, 8, 480)):
            contender = next(contender for contender in CONTENDERS if contender.name == name)
            torch.compiler.reset()  # or all networks together would soon be too many for it
            tasks = {
                "contiguous float32, eager": make(_contiguous(contender().to(device)), pictures, side, device, torch.float32),
                "channels last float32, eager": make(contender().to(device), pictures, side, device, torch.float32),
                "channels last bfloat16, eager": make(contender().to(device), pictures, side, device, torch.bfloat16),
            }
            # CUDA graphs are for inference alone: a training step's tensors live on into the optimiser.
            for kind in ("default", "reduce-overhead") if mode == "inference" else ("default",):
                for dtype in (torch.float32, torch.bfloat16):
                    compiled = contender().to(device)
                    compiled.score_map = torch.compile(compiled.score_map, dynamic=False, mode=kind)
                    words = f"channels last {str(dtype).split('.')[1]}, compiled" + ", CUDA graphs" * (kind != "default")
                    tasks[words] = make(compiled, pictures, side, device, dtype)
            counted = multiply_adds(contender(), torch.zeros(1, 3, side, side))
            for change, seconds in in_turns(tasks, device, rounds).items():
                row = {"network": name, "mode": mode, "change": change, "size": side, "pictures": pictures}
                rows.append(row | {"multiply_adds": counted} | summary(seconds))
            del tasks
            torch.cuda.empty_cache()
    return rows


def parts(rounds: int) -> list[dict]:
    """Ways to pool and to convolve, on the CPU."""
    rows, device = [], torch.device("cpu")
    keep_freed_memory()
    for side in (128, 64, 32):
        last = torch.randn(1, 256, side, side).contiguous(memory_format=torch.channels_last)
        first = last.contiguous()
        conv = nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last)
        plain, fast = copy.deepcopy(conv).to(memory_format=torch.contiguous_format), WinogradConv2d(conv)
        assert 256 in CHANNELS
        tasks = {
            "pooling, contiguous": lambda x=first: pool(x),
            "pooling, contiguous, 1x5 then 5x1": lambda x=first: pool_along_sides(x),
            "pooling, channels last": lambda x=last: pool(x),
            "pooling, channels last, 1x5 then 5x1": lambda x=last: pool_along_sides(x),
            "pooling, channels last, 1x5 then 5x1, of 2, 4 and 5 neighbours in strips": lambda x=last: _neighbours(x),
            "3x3 convolution, contiguous": lambda x=first, conv=plain: conv(x),
            "3x3 convolution, channels last": lambda x=last, conv=conv: conv(x),
            "3x3 convolution, channels last, Winograd": lambda x=last, conv=fast: conv(x),
        }
        with torch.inference_mode():
            assert torch.equal(_neighbours(last), pool(last))
            for name, seconds in in_turns(tasks, device, rounds).items():
                rows.append({"part": name, "channels": 256, "size": side} | summary(seconds))
    return rows


def _run(network: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            return network(x)

    return run


def _contiguous(network: nn.Module) -> nn.Module:
    """A network in torch's own layout, whatever layout it would choose."""
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    network.features = lambda x: [list(network.encoder(x)[2:])]
    return network


def _convolutions(network: nn.Module, x: Tensor) -> Callable[[], None]:
    """All of a network's convolutions on their own inputs, and nothing else."""
    calls: list[tuple[nn.Module, Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: calls.append((module, inputs[0].clone())))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.inference_mode():
        network(x)
    for hook in hooks:
        hook.remove()

    def run() -> None:
        with torch.inference_mode():
            for module, features in calls:
                module(features)

    return run


def _neighbours(x: Tensor, strip_bytes: int = 16 * 2**20) -> Tensor:
    """Pooling as maxima of 2, 4 and 5 neighbours along one side, then along the other, some rows at a time."""
    number, channels, height, width = x.shape
    out, rows = torch.empty_like(x), max(1, strip_bytes // (x.element_size() * number * channels * width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(top - 2, 0), min(bottom + 2, height)
        strip = F.pad(x[:, :, first:last], (2, 2, first - (top - 2), bottom + 2 - last), value=-torch.inf)
        pairs = torch.maximum(strip[..., :-1], strip[..., 1:])
        fours = torch.maximum(pairs[..., :-2], pairs[..., 2:])
        strip = torch.maximum(fours[..., :-1], strip[..., 4:])
        pairs = torch.maximum(strip[:, :, :-1], strip[:, :, 1:])
        fours = torch.maximum(pairs[:, :, :-2], pairs[:, :, 2:])
        torch.maximum(fours[:, :, :-1], strip[:, :, 4:], out=out[:, :, top:bottom])
    return out
