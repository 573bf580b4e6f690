"""Preparation of the network for inference, for commands that evaluate and do not train."""

from lightning import Callback, LightningModule, Trainer

from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.tasks.dense import DenseTask


class PrepareForInference(Callback):
    """Prepares the network for inference when an evaluation starts, on its device; it cannot be trained afterwards."""

    def on_validation_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Prepare the network."""
        _prepare(task)

    def on_test_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Prepare the network."""
        _prepare(task)


def _prepare(task: LightningModule) -> None:
    assert isinstance(task, DenseTask)
    prepare_for_inference(task.network, task.hparams["compile"])
