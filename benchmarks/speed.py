"""Speed of RefineNets beside models of smp, and what memory layout and preparation give on a CPU, bfloat16 and torch.compile
on a GPU. All networks of a table are timed in one process and in turns.
"""

from collections.abc import Callable, Sequence

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from benchmarks.measure import device_peak, in_turns, multiply_adds, noise, peak_memory
from benchmarks.record import parser_of, write
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.models.dense_network import as_dense_network
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.losses.cross_entropy import upsampled_cross_entropy

CLASSES = 21
LITE0 = "tu-tf_efficientnet_lite0"
LIGHT_WEIGHT = {"kernel_size": 1, "path_rcus": 0, "output_rcus": 0, "head_rcus": 0}
# (class, encoder, further arguments). Neither speed nor memory depends on weights; they are random.
NETWORKS = {
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
# Arguments of `step_of`; the first is what the others are compared with.
ON_CPU = {"contiguous": {"contiguous": True}, "channels last": {}, "prepared": {"prepared": True}}
ON_GPU = {
    "contiguous float32": {"contiguous": True},
    "channels last float32": {},
    "channels last bfloat16": {"dtype": torch.bfloat16},
    "compiled bfloat16": {"dtype": torch.bfloat16, "compiled": True},
}


def step_of(
    network: nn.Module,
    x: Tensor,
    mode: str,
    dtype: torch.dtype = torch.float32,
    contiguous: bool = False,
    prepared: bool = False,
    compiled: bool = False,
) -> Callable[[], Tensor | None]:
    """One step of a network as a function.

    Args:
        network: In evaluation mode, which freezes batch normalization; is brought to the device of the images.
        x: Images, float32 (N, 3, H, W).
        mode: `inference`, or `training`: forward pass, loss at the size of the images, backward pass and SGD.
        dtype: Computation type; other than float32 by autocast.
        contiguous: Whether tensors are in torch's default memory format instead of channels last.
        prepared: Whether to prepare the network for inference.
        compiled: Whether to compile the network.

    Returns:
        The step; in inference it returns the logits, float (N, classes, H, W).
    """
    network.to(x.device, memory_format=torch.contiguous_format if contiguous else torch.channels_last)
    if contiguous:  # RefineNet would choose the other format
        network.features = lambda x: [list(network.encoder(x.contiguous())[2:])]
    if prepared:
        prepare_for_inference(network)
    if compiled:
        network.score_map = torch.compile(network.score_map, dynamic=False)
    dense = as_dense_network(network)
    label = torch.randint(CLASSES, (len(x), *x.shape[-2:]), device=x.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)

    def infer() -> Tensor:
        with torch.inference_mode(), torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            return dense(x)

    def train() -> None:
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            scores = dense.score_map(x)
        total, weight = upsampled_cross_entropy(scores, label, "bilinear", None, 255)
        (total / weight).backward()
        optimizer.step()
        optimizer.zero_grad()

    return infer if mode == "inference" else train


def build(name: str) -> nn.Module:
    """A network of `NETWORKS`, with the same weights each time."""
    torch.manual_seed(0)
    network, encoder, arguments = NETWORKS[name]
    return network(encoder, encoder_weights=None, classes=CLASSES, **arguments).eval()


def networks(device: torch.device, dtype: torch.dtype, mode: str, images: int, size: int, rounds: int) -> list[dict]:
    """Rows of all networks, prepared in inference."""
    steps, rows, x, peak = {}, {}, noise(images, size, device), device_peak(device, dtype)
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


def changes(device: torch.device, mode: str, images: int, size: int, rounds: int) -> list[dict]:
    """Rows of each RefineNet and each of `ON_CPU` or `ON_GPU`."""
    rows, x, variants = [], noise(images, size, device), ON_GPU if device.type == "cuda" else ON_CPU
    variants = {change: of for change, of in variants.items() if mode == "inference" or not of.get("prepared")}
    for name in (name for name, (network, *_) in NETWORKS.items() if network is RefineNet):
        torch.compiler.reset()  # or all networks together would soon exceed its limit
        steps = {change: step_of(build(name), x, mode, **arguments) for change, arguments in variants.items()}
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


def main(arguments: Sequence[str] | None = None) -> dict:
    """Run the command and return the record."""
    parser = parser_of(__doc__)
    parser.add_argument("--size", type=int, default=512, help="side of the square images")
    parser.add_argument("--batch", type=int, default=2, help="images of a training step")
    parser.add_argument("--rounds", type=int, default=7, help="timings of each network")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    modes = {"inference": 1, "training": options.batch}
    compared = [networks(device, dtype, mode, images, options.size, options.rounds) for mode, images in modes.items()]
    changed = [changes(device, mode, images, options.size, options.rounds) for mode, images in modes.items()]
    return write("speed", options, {"dtype": str(dtype), "networks": sum(compared, []), "changes": sum(changed, [])})


if __name__ == "__main__":
    main()
