"""Entry points of `torch.hub.load`: a network, and a predictor with trained weights."""

from refinenet_pl import RefineNet as refinenet  # noqa: N813  # names of entry points are in lower case
from refinenet_pl import load as predictor

dependencies = ["torch", "torchvision", "lightning", "torchmetrics", "segmentation_models_pytorch"]
__all__ = ["predictor", "refinenet"]
