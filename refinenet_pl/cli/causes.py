"""Explanations of torch's and Lightning's errors that options cause: the original message, and the option to change."""

import inspect
import re

from lightning import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

# Pattern of the message, and advice. The first match counts.
_CAUSES = (
    (
        r"Expected more than 1 value per channel when training",
        "batch normalization needs more than one value; train with more images per process and batch (data.global_batch over "
        "fewer devices), or with larger crops (data.crop_size)",
    ),
    (
        r"out of memory|can't allocate memory|not enough memory|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED",
        "lower data.crop_size or data.global_batch, accumulate batches (trainer.accumulate_grad_batches), use trainer.precision"
        " bf16-mixed or model.network.init_args.checkpoint_activations; to evaluate large images, set model.tile",
    ),
    (
        r"divisible by \d+|Sizes of tensors must match|output size is too small"
        r"|Kernel size can't be greater than actual input size|Padding size should be less than the corresponding input",
        "set a data.crop_size that the network accepts: a multiple of 32, and large enough for its pooling",
    ),
    (
        r"No supported gpu backend found|No CUDA GPUs are available|Found no NVIDIA driver|not compiled with CUDA"
        r"|You requested gpu:|CUDAAccelerator can not run|MPSAccelerator can not run|invalid device ordinal|Torch not compiled",
        "choose trainer.accelerator and trainer.devices that this machine has; cpu always works",
    ),
    (
        r"Expected to have finished reduction in the prior iteration",
        "some parameters of the network do not affect the loss; set trainer.strategy ddp_find_unused_parameters_true",
    ),
    (
        r"returned nan values in its \d+th output",
        "trainer.detect_anomaly found the operation above; try a lower model.learning_rate or trainer.gradient_clip_val",
    ),
    (
        r"DataLoader worker .* (is killed|exited unexpectedly)|unable to (mmap|open shared memory)|Bus error|shared memory",
        "a data loading process was killed, usually for lack of memory or shared memory; lower data.num_workers",
    ),
    (
        r"to have \d+ channels, but got \d+ channels",
        "model.network must accept as many channels as the images have, three unless classes.yaml or values.yaml has `images`",
    ),
    (r"optimizer got an empty parameter list", "model.network has no parameters to train; use another class"),
    (r"Early stopping conditioned on metric", "set the callback's monitor to one of these names"),
    (r"Found more than one stateful callback", "use different arguments for trainer.callbacks of one type, or remove one"),
    (r"Too many open files", "raise the limit (ulimit -n 65536), or lower data.num_workers"),
    (r"Address already in use|EADDRINUSE", "another run uses this port; set MASTER_PORT to a free one"),
    (r"device-side assert triggered", "run again with CUDA_LAUNCH_BLOCKING=1 to find the operation"),
    (r"Training Spike Detected|TrainingSpikeException", "the callback SpikeDetection ended the training as intended"),
)  # fmt: skip


def explain(error: BaseException) -> str | None:
    """Explain an error that an option causes.

    Args:
        error: Error of torch or Lightning.

    Returns:
        The relevant line of its message and the option to change; None for an error with another cause, which needs its
        traceback.
    """
    text = str(error).strip() or type(error).__name__
    for pattern, advice in _CAUSES:
        if re.search(pattern, f"{type(error).__name__}: {text}", re.IGNORECASE):
            return f"{_sentence(text, pattern)}; {advice}"
    # Lightning's own messages about options, and about missing packages that these need, are clear enough.
    options = set(re.findall(r"`(\w+)", text)).intersection(inspect.signature(Trainer).parameters)
    if isinstance(error, (MisconfigurationException, ModuleNotFoundError)) or options:
        return " ".join(text.split())
    return None


def shorten_parser_error(error: Exception) -> str:
    """Extract why a class cannot be instantiated, without jsonargparse's list of all types that it tried."""
    text = str(error)
    found = re.search(r"Problem with given class_path '([^']+)':\s*(.*?)(?:\n  - |\Z)", text, re.DOTALL)
    return f"{found[1]}: {' '.join(found[2].split())}" if found and "Union subtypes" in text else text


def _sentence(text: str, pattern: str) -> str:
    """The matching line of a message, without a traceback around it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    match = next((line for line in lines if re.search(pattern, line, re.IGNORECASE)), lines[-1])
    return match.removeprefix("RuntimeError: ").removeprefix("ValueError: ").rstrip(".")
