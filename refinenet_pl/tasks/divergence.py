"""Detection of diverged training: a loss, gradients or weights that are NaN or infinite."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor

# On a GPU, reading a value waits for all work queued before it, so the watch is read only every few steps.
STEPS_BETWEEN_READINGS = 10


class DivergenceError(RuntimeError):
    """A loss, a gradient norm or weights are NaN or infinite.

    Attributes:
        step: First optimizer step with such a value, from 1.
        reason: Description of the value and the step.
    """

    def __init__(self, step: int, what: str, advice: str):
        self.step = step
        self.reason = f"{what} not finite (NaN or infinity) since step {step}"
        super().__init__(f"{self.reason}; {advice}")


class DivergenceWatch:
    """First step with a loss or a gradient norm that is not finite.

    The step is kept on the device, so that a GPU does not wait at each step.
    """

    NAMES = ("the loss is", "the gradient norm is")

    def __init__(self) -> None:
        self._first: Tensor | None = None

    def note(self, step: int, values: list[Tensor]) -> None:
        """Check the values of a step.

        Args:
            step: Its number, from 1.
            values: Scalars on one device, in the order of `NAMES`; the norm may be omitted.
        """
        finite = torch.stack([value.detach().isfinite() for value in values])
        first = torch.full((len(self.NAMES),), -1, device=finite.device) if self._first is None else self._first
        now = torch.where(finite, -1, step)
        known = first[: len(values)]
        self._first = torch.cat([torch.where(known < 0, now, known), first[len(values) :]])

    def is_due(self, step: int) -> bool:
        """Test if the watch should be read after this step."""
        return self._first is not None and (self._first.device.type == "cpu" or step % STEPS_BETWEEN_READINGS == 0)

    def read(self) -> tuple[int, str] | None:
        """Return the first step with a non-finite value and the value's name from `NAMES`; None if there is no such step."""
        steps = [] if self._first is None else self._first.tolist()
        found = [(step, name) for step, name in zip(steps, self.NAMES, strict=False) if step >= 0]
        return min(found, key=lambda entry: entry[0]) if found else None


def advice_against_divergence(arguments: Mapping[str, Any], trainer: Trainer) -> str:
    """Advice for an error message: options to change, with their values.

    Args:
        arguments: Arguments of `SegmentationTask` by name.
        trainer: The trainer of the run that diverged.
    """
    clipping, rate = trainer.gradient_clip_val, arguments["learning_rate"] * arguments["learning_rate_scale"]
    clip = f"a smaller trainer.gradient_clip_val (now {clipping:g})" if clipping else "trainer.gradient_clip_val (e.g. 5.0)"
    warmup = f"more model.warmup_steps (now {arguments['warmup_steps']})"
    advice = f"try a lower model.learning_rate (now {rate:g}), {clip} or {warmup}"
    low = trainer.precision not in ("32-true", "64-true")
    return advice + (f", or a higher trainer.precision (now {trainer.precision})" if low else "")
