"""Base class of the Lightning modules: a network from images to numbers for each pixel, its training and its evaluation."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from lightning import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchmetrics import Metric

from refinenet_pl.errors import CheckpointError
from refinenet_pl.evaluation.evaluator import Evaluator
from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.evaluation.result import EvaluationResult
from refinenet_pl.evaluation.value_evaluator import ValueEvaluator
from refinenet_pl.evaluation.value_inference import ValueInference
from refinenet_pl.files import slug
from refinenet_pl.metrics.dead_relu import PoolingActivity
from refinenet_pl.metrics.score import Score, ScoreSet
from refinenet_pl.models.dense_network import DenseNetwork, arguments_of, as_dense_network
from refinenet_pl.models.ops.dropout import set_sample_seeds
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.seeds import derive_seed
from refinenet_pl.state_dicts import describe_nonfinite, digest, nonfinite
from refinenet_pl.tasks.divergence import DivergenceError, DivergenceWatch, advice_against_divergence
from refinenet_pl.tasks.freezing import freeze, frozen_modules
from refinenet_pl.tasks.losses.global_mean import GlobalMeanLoss
from refinenet_pl.tasks.optimizers import (
    OptimizerFactory,
    OptimizerName,
    ScheduleFactory,
    ScheduleName,
    build_optimizer,
    build_schedule,
)
from refinenet_pl.tasks.rebuilding import build_network
from refinenet_pl.tasks.user_metrics import UserMetrics


class DenseTask(LightningModule):
    """Base of the tasks: training and evaluation of a network, without a loss and metrics of its own.

    The constructor of a subclass saves its arguments with `save_hyperparameters`, among them `learning_rate`,
    `learning_rate_scale`, `encoder_learning_rate_factor`, `weight_decay`, `decay_all`, `layer_decay`, `power`, `warmup_steps`,
    `freeze_batch_norm`, `freeze` and `compile`, see `SegmentationTask`, sets `optimizer_choice`, `schedule_choice`,
    `training_inference` and `test_inference`, and calls `configure`.

    Attributes:
        network: The network.
        criterion: The loss as sums over pixels, set by `configure_losses`.
        global_loss: Its mean over an optimizer step.
        evaluators: One for each of `val` and `test`, set by `configure_metrics`.
        user_metrics: Further metrics for each of `val` and `test`.
        activity: Active share of the pooling blocks' ReLUs.
        training_inference: View of the images in validation during training: scale 1 only.
        test_inference: View of the images in `Trainer.validate` and `Trainer.test`.
        results: Results of the last evaluations, by `val` and `test`.
        optimizer_choice: Name or class of the optimizer, with its arguments.
        schedule_choice: Name or class of the schedule, with its arguments.
    """

    mean: Tensor
    std: Tensor
    network: nn.Module
    criterion: nn.Module
    evaluators: nn.ModuleDict
    training_inference: Inference | ValueInference
    test_inference: Inference | ValueInference
    results: dict[str, EvaluationResult[Any]]
    optimizer_choice: OptimizerName | OptimizerFactory
    schedule_choice: ScheduleName | ScheduleFactory

    def configure(self, network: nn.Module, metrics: Mapping[str, Metric] | None = None) -> None:
        """Set the network, the loss and the metrics.

        Args:
            network: The network.
            metrics: Metrics by name beside the built-in ones, see `UserMetrics`.
        """
        self.configure_network(network)
        self.configure_losses()
        self.global_loss = GlobalMeanLoss()
        self.configure_metrics()
        built_in = {"loss", *(score.name for score in self.score_set.SCORES)}
        self.user_metrics = nn.ModuleDict({stage: UserMetrics(metrics or {}, built_in) for stage in self.evaluators})
        self.activity = PoolingActivity(self.network)
        self.divergence = DivergenceWatch()
        self.results = {}
        self._has_fitted = False
        self._forced_view: Inference | ValueInference | None = None
        self._validated = ""

    def configure_network(self, network: nn.Module) -> None:
        """Set `network`: freeze its encoder, compile it, and register the normalization of its input."""
        encoder = as_dense_network(network).encoder
        if self.hparams["encoder_learning_rate_factor"] == 0 and encoder is not None:
            encoder.requires_grad_(False)
        freeze(network, self.hparams["freeze"] or ())
        self.network = network
        if self.hparams["compile"]:
            from refinenet_pl.tasks.compilation import compile_network  # takes seconds to import

            compile_network(network)
        mean, std = self.dense_network.normalization
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1), persistent=False)

    def describe_network(self, files: dict[str, str]) -> None:
        """Let a RefineNet carry files that describe it, see `RefineNet.files`."""
        if isinstance(self.network, RefineNet):
            self.network.files = files

    @abstractmethod
    def configure_losses(self) -> None:
        """Set `criterion`."""

    @abstractmethod
    def configure_metrics(self) -> None:
        """Set `evaluators`, one for each of `val` and `test`."""

    @abstractmethod
    def evaluator(self, stage: str) -> Evaluator | ValueEvaluator:
        """The evaluator of `val` or `test`."""

    def measured(self, stage: str) -> UserMetrics:
        """The user's metrics of `val` or `test`."""
        metrics = self.user_metrics[stage]
        assert isinstance(metrics, UserMetrics)
        return metrics

    @property
    @abstractmethod
    def score_set(self) -> type[ScoreSet]:
        """Class of the scores."""

    @property
    def primary_score(self) -> Score:
        """The score that selects the best checkpoint and is shown in tables by default."""
        return self.score_set.SCORES[0]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build the optimizer and its schedule from the arguments."""
        h, encoder = self.hparams, self.dense_network.encoder
        rate, factor = h["learning_rate"] * h["learning_rate_scale"], h["encoder_learning_rate_factor"]
        decay = h["weight_decay"], h["decay_all"], h["layer_decay"]
        optimizer = build_optimizer(self.optimizer_choice, self.network, encoder, rate, factor, *decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = build_schedule(self.schedule_choice, optimizer, steps, h["power"], h["warmup_steps"])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "learning_rate"}}

    @property
    def dense_network(self) -> DenseNetwork:
        """The network as a `DenseNetwork`."""
        return as_dense_network(self.network)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Finish the gradients, log their norm and `train/loss`, the mean over its pixels, and check for divergence.

        Raises:
            DivergenceError: A loss or a gradient norm is NaN or infinite.
        """
        loss = self.global_loss.finish(self.network.parameters(), self.trainer)
        self.log("train/loss", loss, prog_bar=True)
        values, precision = [loss], self.trainer.precision_plugin
        if not (isinstance(precision, MixedPrecision) and precision.scaler):  # a scaler skips steps whose gradients overflow
            gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
            if gradients:
                values.append(torch.nn.utils.get_total_norm(gradients))
                self.log("gradients/norm", values[-1])  # before they are clipped
        step = self.trainer.global_step + 1
        self.divergence.note(step, values)
        if self.divergence.is_due(step):
            self._end_if_diverged(check_weights=False)

    def on_fit_start(self) -> None:
        """Switch to training mode."""
        self._has_fitted = True
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for batch normalization in frozen parts, and with `freeze_batch_norm` in the encoder."""
        super().train(mode)
        for part in frozen_modules(self.network) if self.hparams["freeze"] else ():
            if isinstance(part, _BatchNorm):
                part.eval()
        if self.hparams["freeze_batch_norm"]:
            encoder = self.dense_network.encoder
            for module in (self.network if encoder is None else encoder).modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    @contextmanager
    def viewing(self, inference: Inference | ValueInference) -> Iterator[None]:
        """Evaluate with this view within the block, in place of the views of training and testing."""
        self._forced_view = inference
        try:
            yield
        finally:
            self._forced_view = None

    def on_validation_start(self) -> None:
        """Reset the sums and check for divergence."""
        self.activity.reset()
        self._start("val")
        self._end_if_diverged()

    def on_test_start(self) -> None:
        """Reset the sums."""
        self._start("test")

    def validation_step(self, batch: dict[str, Any], batch_index: int) -> None:
        """Evaluate a batch, with the activity of its ReLUs in training."""
        if batch_index == 0:
            self._validated = digest(self.network.state_dict())  # callbacks may change weights before the end
        with self.activity.counting() if self._counts_activity else nullcontext():
            self.evaluate("val", batch)

    def test_step(self, batch: dict[str, Any], batch_index: int) -> None:
        """Evaluate a batch."""
        self.evaluate("test", batch)

    def predict_step(self, batch: dict[str, Any] | Tensor, batch_index: int) -> Tensor:
        """Predict a batch, for `Trainer.predict`.

        Args:
            batch: uint8 or float (N, C, H, W) in 0..255, or a dict that has it as `image`.
            batch_index: Number of the batch.
        """
        return self.predict_batch(batch["image"] if isinstance(batch, dict) else batch)

    @abstractmethod
    def predict_batch(self, image: Tensor) -> Tensor:
        """Predict images, uint8 or float (N, C, H, W) in 0..255, with the view of `test`."""

    @abstractmethod
    def evaluate(self, stage: str, batch: dict[str, Any]) -> None:
        """Add a batch to the evaluator of `val` or `test`."""

    @abstractmethod
    def compute_result(self, stage: str, weights: str, pooling_activity: Sequence[float]) -> EvaluationResult[Any]:
        """Compute the result of the evaluator of `val` or `test`."""

    def on_validation_epoch_end(self) -> None:
        """Log and keep the scores, and log the share of positive values and of dead ReLUs before each block's pooling."""
        shares: list[float] = []
        if self._counts_activity:
            shares, dead = self.activity.compute()
            self.log_dict({f"active_relu/block_{number}": share for number, share in enumerate(shares, start=1)})
            self.log_dict({f"dead_relu/block_{number}": share for number, share in enumerate(dead, start=1)})
        self._finish("val", self._validated, shares)

    def on_test_epoch_end(self) -> None:
        """Log and keep the scores."""
        self._finish("test")

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning names each option
        cls, checkpoint_path: str | Path, map_location: Any = None, **options: Any
    ) -> Self:
        """Load a task from a checkpoint of `fit`, with the network that it describes.

        Args:
            checkpoint_path: The file.
            map_location: Device of the tensors, see `torch.load`.
            **options: Other options of Lightning's `load_from_checkpoint`, and arguments of the task that replace those in the
                checkpoint. `network` is needed only if the checkpoint does not describe it, that is, for networks other than
                RefineNet and those of smp. A module that was given as `loss` or `metrics` is not in the checkpoint.

        Raises:
            CheckpointError: The checkpoint does not describe its network, and none is given.
        """
        if "network" not in options:
            content = torch.load(checkpoint_path, map_location="cpu", weights_only=True, mmap=True)
            if content.get("network") is None:
                raise CheckpointError(f"{checkpoint_path}: does not describe its network; pass it as network=...")
            options["network"] = build_network(content["network"])
        # LightningCLI's instantiator would need the recipe.
        options = {"weights_only": True, "_instantiator": None} | options
        return super().load_from_checkpoint(checkpoint_path, map_location, **options)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check a checkpoint's values and the meaning of its channels.

        Raises:
            CheckpointError: Its tensors have NaN or infinity, or its channels have another meaning than the dataset's.
        """
        if self._trainer is None:  # in load_from_checkpoint
            return
        place = str(self.trainer.ckpt_path)
        if problem := describe_nonfinite(checkpoint["state_dict"]):
            raise CheckpointError(f"{place}: {problem}")
        self.match_checkpoint(checkpoint, place)

    @abstractmethod
    def match_checkpoint(self, checkpoint: dict[str, Any], place: str) -> None:
        """Compare the meaning of a checkpoint's channels with the dataset's.

        Args:
            checkpoint: Content of the checkpoint.
            place: Its path, to name in errors.

        Raises:
            CheckpointError: They differ.
        """

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the network's arguments and the task's class.

        Raises:
            DivergenceError: A loss, a gradient norm or a weight is NaN or infinite.
        """
        self._end_if_diverged()
        checkpoint["network"] = arguments_of(self.network)
        checkpoint["task"] = f"{type(self).__module__}.{type(self).__qualname__}"

    @property
    def _counts_activity(self) -> bool:
        # A network that is compiled, or prepared for inference by a command that does not train, lacks the modules to count;
        # and validations of other views evaluate the same network again.
        other = self.hparams["compile"] or self.evaluator("val").inference.name
        return bool(self.activity.units) and self._has_fitted and not other

    def _start(self, stage: str) -> None:
        """Choose the view, and reset the sums.

        They are not reset at the end of an evaluation, because training cannot use tensors created in inference mode.
        """
        training = self.trainer.state.fn == "fit"
        evaluator = self.evaluator(stage)
        # Each task sets views of the type that its evaluators use.
        evaluator.inference = self._forced_view or (self.training_inference if training else self.test_inference)
        evaluator.reset()
        self.measured(stage).reset()

    def _finish(self, stage: str, weights: str = "", pooling_activity: Sequence[float] = ()) -> None:
        """Log and keep the result of an evaluation."""
        result = self.compute_result(stage, weights, pooling_activity)
        result = replace(result, metrics=self.measured(stage).compute())
        self.results[stage] = result
        scores = result.scores.known()
        if scores and not math.isfinite(result.loss):
            advice = f"try a higher trainer.precision (now {self.trainer.precision})"
            raise DivergenceError(self.trainer.global_step, f"the loss on {stage} is", advice)
        # The names of other views' values contain the view.
        logged = slug(", ".join(part for part in (stage, result.view) if part))
        self.log(f"{logged}/loss", torch.tensor(result.loss))
        for score in self.score_set.SCORES:  # NaN if nothing counts, because a monitored value must be logged
            self.log(f"{logged}/{score.name}", scores.get(score.name, math.nan), prog_bar=score is self.primary_score)
        self.log_dict({f"{logged}/{name}": torch.tensor(value) for name, (value, _) in result.metrics.items()})
        self.log_parts(logged, result)

    def log_parts(self, stage: str, result: EvaluationResult[Any]) -> None:
        """Log scores of single classes or channels; a subclass may override it."""

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
