"""Weighted mean in double precision."""

import torch
from torchmetrics import MeanMetric

from refinenet_pl.dtypes import float64_device


class DoubleMean:
    """Mean of a loss over all processes, summed in float64, or on the CPU if the device has no float64.

    Not a module, so that it is not moved together with the module that owns it to a device without float64.
    """

    def __init__(self) -> None:
        self._metric = MeanMetric()

    def on(self, device: torch.device) -> MeanMetric:
        """Return the metric for values that are computed on a device."""
        # In this order, because `to` makes the metric round new values to float32.
        self._metric.to(float64_device(device)).set_dtype(torch.float64)
        return self._metric
