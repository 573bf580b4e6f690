"""Base class of the Lightning modules: a network from images to numbers for each pixel, its optimizer and its training."""

from abc import abstractmethod
from typing import Any, Self

import torch
from lightning import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from refinenet_pl.models.dense_network import DenseNetwork, as_dense_network
from refinenet_pl.models.ops.dropout import set_sample_seeds
from refinenet_pl.seeds import derive_seed
from refinenet_pl.state_dicts import nonfinite
from refinenet_pl.tasks.divergence import DivergenceError, DivergenceWatch, advice_against_divergence
from refinenet_pl.tasks.losses.global_mean import GlobalMeanLoss
from refinenet_pl.tasks.optimizers import build_optimizer, build_schedule


class DenseTask(LightningModule):
    """Base of the tasks: training of a network, without a loss and metrics of its own.

    The constructor of a subclass saves its arguments with `save_hyperparameters`, among them `learning_rate`,
    `learning_rate_scale`, `encoder_learning_rate_factor`, `optimizer`, `weight_decay`, `power`, `warmup_steps`,
    `freeze_batch_norm` and `compile`, see `SegmentationTask`, and calls `configure`.

    Attributes:
        network: The network.
        criterion: The loss as sums over pixels, set by `configure_losses`.
        global_loss: Its mean over an optimizer step.
    """

    mean: Tensor
    std: Tensor
    network: nn.Module
    criterion: nn.Module

    def configure(self, network: nn.Module) -> None:
        """Set the network, the loss and the metrics."""
        self.configure_network(network)
        self.configure_losses()
        self.global_loss = GlobalMeanLoss()
        self.configure_metrics()
        self.divergence = DivergenceWatch()
        self._has_fitted = False

    def configure_network(self, network: nn.Module) -> None:
        """Set `network`: freeze its encoder, compile it, and register the normalization of its input."""
        encoder = as_dense_network(network).encoder
        if self.hparams["encoder_learning_rate_factor"] == 0 and encoder is not None:
            encoder.requires_grad_(False)
        self.network = network
        if self.hparams["compile"]:
            from refinenet_pl.tasks.compilation import compile_network  # takes seconds to import

            compile_network(network)
        mean, std = self.dense_network.normalization
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1), persistent=False)

    @abstractmethod
    def configure_losses(self) -> None:
        """Set `criterion`."""

    @abstractmethod
    def configure_metrics(self) -> None:
        """Set the metrics of `val` and `test`."""

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build the optimizer and its schedule from the arguments."""
        h, encoder = self.hparams, self.dense_network.encoder
        rate, factor = h["learning_rate"] * h["learning_rate_scale"], h["encoder_learning_rate_factor"]
        optimizer = build_optimizer(h["optimizer"], self.network, encoder, rate, factor, h["weight_decay"])
        schedule = build_schedule(optimizer, int(self.trainer.estimated_stepping_batches), h["power"], h["warmup_steps"])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def dense_network(self) -> DenseNetwork:
        """The network as a `DenseNetwork`."""
        return as_dense_network(self.network)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Finish the gradients, log `train/loss`, the mean over all pixels of the step, and check for divergence.

        Raises:
            DivergenceError: A loss or a gradient norm is NaN or infinite.
        """
        loss = self.global_loss.finish(self.network.parameters(), self.trainer)
        self.log("train/loss", loss, prog_bar=True)
        values, precision = [loss], self.trainer.precision_plugin
        if not (isinstance(precision, MixedPrecision) and precision.scaler):  # a scaler skips steps whose gradients overflow
            gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
            values += [torch.nn.utils.get_total_norm(gradients)] if gradients else []
        step = self.trainer.global_step + 1
        self.divergence.note(step, values)
        if self.divergence.is_due(step):
            self._end_if_diverged(check_weights=False)

    def on_fit_start(self) -> None:
        """Switch to training mode."""
        self._has_fitted = True
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, but keep the encoder's batch normalization in evaluation mode if `freeze_batch_norm`."""
        super().train(mode)
        if self.hparams["freeze_batch_norm"]:
            encoder = self.dense_network.encoder
            for module in (self.network if encoder is None else encoder).modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _seed(self, batch: dict[str, Any]) -> None:
        """Seed random numbers by the samples of a batch."""
        seeds = batch.get("seeds")
        set_sample_seeds(self.network, seeds)
        if seeds is not None:  # for random numbers in other networks; RefineNet's dropout is seeded by sample
            torch.manual_seed(derive_seed(*seeds))

    def _end_if_diverged(self, check_weights: bool = True) -> None:
        """End training with values that are not finite, before they are scored or saved."""
        found = self.divergence.read()
        if found is None and check_weights and nonfinite(self.network.state_dict()):
            found = self.trainer.global_step, "the weights are"
        if found is not None:
            raise DivergenceError(*found, advice_against_divergence(self.hparams, self.trainer))

    def _normalize(self, image: Tensor) -> Tensor:
        return (image.as_subclass(Tensor).to(self.mean.dtype) - self.mean) / self.std
