"""Speed of RefineNets and models of smp, and the speed-up from optimizations.

On a CPU, the optimizations are memory format and preparation for inference; on a GPU, bfloat16 and torch.compile. All networks
of a table are timed in turns in one process.
"""

from collections.abc import Callable, Sequence
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from benchmarks.measure import device_peak, in_turns, multiply_adds, noise, peak_memory
from benchmarks.record import parser_of, write
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.models.dense_network import as_dense_network
from refinenet_pl.models.ops.resize import resize
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.losses.cross_entropy import upsampled_cross_entropy

CLASSES = 21
LITE0 = "tu-tf_efficientnet_lite0"
LIGHT_WEIGHT = {"kernel_size": 1, "path_rcus": 0, "output_rcus": 0, "head_rcus": 0}
# (class, encoder, other arguments). Weights are random, because they affect neither speed nor memory.
NETWORKS: dict[str, tuple[type[nn.Module], str, dict[str, Any]]] = {
    "RefineNet, ResNet-50": (RefineNet, "resnet50", {}),
    "RefineNet, ResNet-101": (RefineNet, "resnet101", {}),
    "Light-Weight RefineNet, ResNet-50": (RefineNet, "resnet50", LIGHT_WEIGHT),
    "RefineNet 32 wide, EfficientNet-Lite0": (RefineNet, LITE0, {"width": 32, "deepest_width": 64}),
    "Unet, ResNet-50": (smp.Unet, "resnet50", {}),
    "FPN, ResNet-50": (smp.FPN, "resnet50", {}),
    "PSPNet, ResNet-50": (smp.PSPNet, "resnet50", {}),
    "DeepLabV3Plus, ResNet-50": (smp.DeepLabV3Plus, "resnet50", {}),
    "UPerNet, ResNet-50": (smp.UPerNet, "resnet50", {}),
    "DeepLabV3Plus, ResNet-101": (smp.DeepLabV3Plus, "resnet101", {}),
    "Segformer, MiT-B2": (smp.Segformer, "mit_b2", {}),
    "FPN, EfficientNet-Lite0": (smp.FPN, LITE0, {}),
}
# Arguments of `step_of`; the first entry is the baseline.
ON_CPU: dict[str, dict[str, Any]] = {"contiguous": {"contiguous": True}, "channels last": {}, "prepared": {"prepared": True}}
ON_GPU: dict[str, dict[str, Any]] = {
    "contiguous float32": {"contiguous": True},
    "channels last float32": {},
    "channels last bfloat16": {"dtype": torch.bfloat16},
    "compiled bfloat16": {"dtype": torch.bfloat16, "compiled": True},
}


class ContiguousRefineNet(RefineNet):
    """RefineNet that keeps torch's default memory format instead of converting to channels last."""

    def features(self, x: Tensor) -> list[list[Tensor]]:
        """Compute the encoder features in the default memory format."""
        return [list(encoder(x.contiguous())[2:]) for encoder in self.encoders]


def step_of(
    network: nn.Module,
    x: Tensor,
    mode: str,
    dtype: torch.dtype = torch.float32,
    contiguous: bool = False,
    prepared: bool = False,
    compiled: bool = False,
) -> Callable[[], Tensor]:
    """Create a function that runs one step of a network.

    Args:
        network: Network in evaluation mode, which freezes batch normalization. It is moved to the device of the images.
        x: Images, float32 (N, 3, H, W).
        mode: `inference`, or `training`: forward pass, loss at the size of the images, backward pass and SGD.
        dtype: Computation dtype; autocast is used unless it is float32.
        contiguous: Use torch's default memory format for the weights instead of channels last.
        prepared: Prepare the network for inference.
        compiled: Compile the network.

    Returns:
        The step. It returns the logits, float (N, classes, H, W), or the training loss.
    """
    layout = torch.contiguous_format if contiguous else torch.channels_last
    network.to(x.device, memory_format=layout)  # type: ignore[call-overload]  # torch's overloads lack memory_format
    if prepared:
        prepare_for_inference(network)
    dense = as_dense_network(network)
    score_map = torch.compile(dense.score_map, dynamic=False) if compiled else dense.score_map
    label = torch.randint(CLASSES, (len(x), *x.shape[-2:]), device=x.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)

    def infer() -> Tensor:
        with torch.inference_mode(), torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            return resize(score_map(x), x.shape[-2:], dense.upsampling) if compiled else dense(x)

    def train() -> Tensor:
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            scores = score_map(x)
        total, weight = upsampled_cross_entropy(scores, label, "bilinear", None, 255)
        loss = total / weight
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return infer if mode == "inference" else train


def build(name: str, contiguous: bool = False) -> nn.Module:
    """Build a network with the same random weights each time.

    Args:
        name: A key of `NETWORKS`.
        contiguous: Build a `ContiguousRefineNet` instead of a RefineNet.
    """
    torch.manual_seed(0)
    network, encoder, arguments = NETWORKS[name]
    return (ContiguousRefineNet if contiguous else network)(encoder, encoder_weights=None, classes=CLASSES, **arguments).eval()


def networks(device: torch.device, dtype: torch.dtype, mode: str, images: int, size: int, rounds: int) -> list[dict[str, Any]]:
    """Measure all networks; in inference, they are prepared.

    Args:
        device: Device of the networks.
        dtype: Computation dtype.
        mode: `inference` or `training`.
        images: Batch size.
        size: Side of the square images, in pixels.
        rounds: Number of timed runs per network.

    Returns:
        A row for each network.
    """
    steps: dict[str, Callable[[], Tensor]] = {}
    rows: dict[str, dict[str, Any]] = {}
    x, peak = noise(images, size, device), device_peak(device, dtype)
    for name in NETWORKS:
        network = build(name).to(device)
        rows[name] = {"network": name, "mode": mode, "size": size, "images": images}
        rows[name]["parameters"] = sum(parameter.numel() for parameter in network.parameters())
        rows[name]["multiply_adds"] = multiply_adds(network, x[:1])
        steps[name] = step_of(network, x, mode, dtype, prepared=mode == "inference")
        rows[name]["peak_bytes"] = peak_memory(steps[name], network, device)
    for name, times in in_turns(steps, device, rounds).items():
        operations = 2 * images * rows[name]["multiply_adds"] * (3 if mode == "training" else 1)
        rows[name] |= times | {"share_of_peak": 1e3 * operations / times["median_ms"] / peak}
    return list(rows.values())


def changes(device: torch.device, mode: str, images: int, size: int, rounds: int) -> list[dict[str, Any]]:
    """Measure each RefineNet with each optimization of `ON_CPU` or `ON_GPU`.

    Args:
        device: Device of the networks.
        mode: `inference` or `training`.
        images: Batch size.
        size: Side of the square images, in pixels.
        rounds: Number of timed runs per network.

    Returns:
        A row for each network and optimization.
    """
    rows, x, variants = [], noise(images, size, device), ON_GPU if device.type == "cuda" else ON_CPU
    variants = {change: of for change, of in variants.items() if mode == "inference" or not of.get("prepared")}
    for name in (name for name, (network, *_) in NETWORKS.items() if network is RefineNet):
        torch.compiler.reset()  # otherwise the networks together exceed the limit of recompilations
        steps = {
            change: step_of(build(name, arguments.get("contiguous", False)), x, mode, **arguments)
            for change, arguments in variants.items()
        }
        times = in_turns(steps, device, rounds)
        first = next(iter(steps))
        for change, step in steps.items():
            row = {"network": name, "mode": mode, "change": change, "size": size, "images": images} | times[change]
            row["times_as_fast"] = times[first]["median_ms"] / times[change]["median_ms"]
            if mode == "inference":
                reference, scores = steps[first]().float(), step().float()
                row["largest_difference"] = float((scores - reference).abs().max() / reference.abs().max())
            rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the command and return the record."""
    parser = parser_of(__doc__)
    parser.add_argument("--size", type=int, default=512, help="side of the square images, in pixels")
    parser.add_argument("--batch", type=int, default=2, help="images per training step")
    parser.add_argument("--rounds", type=int, default=7, help="timed runs per network")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    modes = {"inference": 1, "training": options.batch}
    compared = [networks(device, dtype, mode, images, options.size, options.rounds) for mode, images in modes.items()]
    changed = [changes(device, mode, images, options.size, options.rounds) for mode, images in modes.items()]
    return write("speed", options, {"dtype": str(dtype), "networks": sum(compared, []), "changes": sum(changed, [])})


if __name__ == "__main__":
    main()
