"""The network's form for inference, for programs that evaluate and do not train."""

from lightning import Callback, LightningModule, Trainer

from refinenet_pl.deployment.preparation import prepare_for_inference


class PrepareForInference(Callback):
    """Prepares the network when an evaluation starts, on the device where it is evaluated; it cannot be trained afterwards."""

    def on_validation_start(self, trainer: Trainer, task: LightningModule) -> None:
        prepare_for_inference(task.network, task.hparams.compile)

    def on_test_start(self, trainer: Trainer, task: LightningModule) -> None:
        prepare_for_inference(task.network, task.hparams.compile)
