"""Peak memory of training steps and of evaluations of large images.

Training varies the resolution of the loss and activation checkpointing; evaluation varies chunked upsampling and tiles. Each
case runs in a separate process, on random images and with random weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import in_own_process, noise, peak_memory, seconds_of
from benchmarks.record import parser_of, write
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.models.ops import chunked_upsampling
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.segmentation import SegmentationTask

NETWORK_ARGUMENTS = ("encoder_name", "width", "deepest_width", "input_scale", "decoder_init", "classes")
RESNET50 = {"encoder_name": "resnet50", "width": 256, "deepest_width": 512}
LITE0 = {"encoder_name": "tu-tf_efficientnet_lite0", "width": 32, "deepest_width": 64}
TRAINED = [
    RESNET50 | {"classes": 21, "images": 2},
    RESNET50 | {"classes": 150, "images": 2},
    LITE0 | {"classes": 150, "images": 8},
]
VARIANTS = [
    {"loss_at": "image", "chunked": False, "checkpoint_activations": False},
    {"loss_at": "image", "chunked": True, "checkpoint_activations": False},
    {"loss_at": "score_map", "chunked": True, "checkpoint_activations": False},
    {"loss_at": "image", "chunked": True, "checkpoint_activations": True},
    {"loss_at": "score_map", "chunked": True, "checkpoint_activations": True},
]

VIEW_ARGUMENTS = ("protocol", "scales", "flip", "tile", "short_edge")
# As in the recipes: the encoder's input is upsampled by 1.2, and void is an output channel.
RESNET101 = {"encoder_name": "resnet101", "input_scale": 1.2, "decoder_init": "scaled", "chunked": True}
CITYSCAPES = RESNET101 | {"height": 1024, "width_of_image": 2048, "classes": 20, "short_edge": (600, 1100)}
ADE20K = RESNET101 | {"height": 1536, "width_of_image": 2048, "classes": 151, "short_edge": (450, 800)}
FIVE = {"scales": (0.4, 0.6, 0.8, 1.0, 1.2)}
PAPER = {"protocol": "paper"} | FIVE
EVALUATED = [
    CITYSCAPES | PAPER | {"chunked": False},
    CITYSCAPES | PAPER,
    CITYSCAPES,
    CITYSCAPES | {"tile": (520, 1040)},
    CITYSCAPES | {"tile": (520, 1040), "flip": True} | FIVE,
    ADE20K | PAPER | {"chunked": False},
    ADE20K | PAPER,
    ADE20K | {"tile": (520, 520), "chunked": False},
    ADE20K | {"tile": (520, 520)},
]


def kept_for_backward(forward: Callable[[], Tensor], network: nn.Module) -> int:
    """Count the bytes of the tensors that a forward pass saves for its backward pass, without the network's weights."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = forward()
    del loss  # keeps all saved tensors alive until here, so that no address is reused
    return sum(size for address, size in kept.items() if address not in weights)


def train(row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Measure a training step.

    Args:
        row: A case of `TRAINED` and `VARIANTS` with `size`, the side of the images.
        device: Device of the training.

    Returns:
        `kept_bytes` (saved for the backward pass), `peak_bytes` and `min_ms`.
    """
    classes, shape = row["classes"], (row["images"], row["size"], row["size"])
    network = _network(row, checkpoint_activations=row["checkpoint_activations"])
    task = SegmentationTask(network, classes, loss_at=row["loss_at"]).to(device).train()
    image = noise(*shape[:2], device).clamp(0, 255).byte()
    batch = {"image": image, "mask": torch.randint(classes, shape, device=device)}

    def forward() -> Tensor:
        loss = task.training_step(batch, 0)
        task.global_loss.parts.clear()
        return loss

    def step() -> None:
        forward().backward()

    step()  # allocates the gradients, which exist in all later steps
    gradients = sum(parameter.grad.nbytes for parameter in network.parameters() if parameter.grad is not None)
    kept, peak = kept_for_backward(forward, network), peak_memory(step, network, device)
    seconds = min(seconds_of(step, device) for _ in range(2))
    return {"kept_bytes": kept, "peak_bytes": peak and peak + gradients, "min_ms": 1e3 * seconds}


def evaluate(row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Measure the evaluation of one image.

    Args:
        row: A case of `EVALUATED`.
        device: Device of the evaluation.

    Returns:
        `peak_bytes`.
    """
    network = prepare_for_inference(_network(row).to(device))
    inference = Inference(**{name: row[name] for name in VIEW_ARGUMENTS if name in row}, void_channel="last")
    image = torch.randint(256, (1, 3, row["height"], row["width_of_image"]), dtype=torch.uint8, device=device)

    def task() -> None:
        with torch.inference_mode():
            parts = inference.log_probabilities(network, image, lambda x: x.float() / 255)
            torch.cat([part.argmax(1) for _, part in parts], 1)

    return {"peak_bytes": peak_memory(task, network, device)}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the command and return the record."""
    parser = parser_of(__doc__)
    parser.add_argument("--size", type=int, default=400, help="side of the square training images, in pixels")
    options = parser.parse_args(arguments)
    device, cases = torch.device(options.device), [case | variant for case in TRAINED for variant in VARIANTS]
    training = [row | in_own_process(train, row, device) for row in (case | {"size": options.size} for case in cases)]
    evaluation = [row | in_own_process(evaluate, row, device) for row in EVALUATED]
    return write("memory", options, {"training": training, "evaluation": evaluation})


def _network(row: dict[str, Any], **arguments: bool) -> RefineNet:
    if not row["chunked"]:
        chunked_upsampling.CHUNK_BYTES = 2**62  # not restored, because this process measures nothing else
    torch.manual_seed(0)
    found = {name: row[name] for name in NETWORK_ARGUMENTS if name in row}
    return RefineNet(**found, encoder_weights=None, **arguments)


if __name__ == "__main__":
    main()
