"""Origin of a run in the loggers: the dataset that it uses, and the checkpoint that it evaluates."""

from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from refinenet_pl.datamodule.dense import DenseDataModule
from refinenet_pl.datasets.fingerprint import describe_dataset
from refinenet_pl.tracking.trackers import trackers


class Lineage(Callback):
    """Notes the dataset of a run, and the checkpoint of its training that it evaluates, in the loggers.

    Args:
        dataset: Name of the dataset.
        checkpoint: File name of the evaluated checkpoint; None in training.
        describes: Describe the dataset, for which the sizes of all its files are read.
    """

    def __init__(self, dataset: str, checkpoint: str | None, describes: bool):
        self.dataset = dataset
        self.checkpoint = checkpoint
        self.describes = describes
        self.is_noted = False

    @rank_zero_only
    def setup(self, trainer: Trainer, task: LightningModule, stage: str) -> None:
        """Note them on the first process, when the splits are open."""
        found = trackers(trainer.loggers)
        if not found or self.is_noted:
            return
        self.is_noted = True  # a training ends with a validation of its own
        data: DenseDataModule = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it outside the class
        if self.describes:
            root = Path(data.root) if data.root else None
            facts = describe_dataset(self.dataset, root, data.dataset_options, data.opened, data.meaning)
            for tracker in found:
                tracker.use_dataset(facts)
        if self.checkpoint is not None:
            for tracker in found:
                tracker.use_checkpoint(self.checkpoint)
