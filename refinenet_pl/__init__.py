"""RefineNet (Lin, Milan, Shen, Reid; CVPR 2017, TPAMI 2019) in PyTorch Lightning."""

from refinenet_pl.datamodule.segmentation import SegmentationDataModule
from refinenet_pl.datamodule.values import ValueDataModule
from refinenet_pl.deployment.predictor import load
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tasks.segmentation import SegmentationTask

__version__ = "0.1.0"
__all__ = ["RefineNet", "RegressionTask", "SegmentationDataModule", "SegmentationTask", "ValueDataModule", "load"]
