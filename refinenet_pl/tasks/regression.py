"""Lightning module that trains and evaluates any network from images to continuous values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from refinenet_pl.datasets.values import Values
from refinenet_pl.evaluation.value_evaluator import ValueEvaluator, ValueResult, build_metric
from refinenet_pl.evaluation.value_inference import Activation, ValueInference, activate
from refinenet_pl.tasks.arguments import check_training_arguments
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.divergence import DivergenceError
from refinenet_pl.tasks.losses.value_loss import ValueLoss
from refinenet_pl.tasks.losses.values import LOSSES, WeightedSum
from refinenet_pl.tasks.optimizers import OptimizerName


class RegressionTask(DenseTask):
    """Dense regression: depth, normals, heatmaps or other values of each pixel.

    Args:
        network: Maps float (N, 3, H, W) to float (N, channels, H, W), with a channel for each value.
        values: The values of the dataset, as `Values` or as its plain data.
        loss: Name of a loss in `LOSSES`, or the weights of several.
        activation: Mapping from the network's output to values.
        metric_options: Arguments of the metric, see `build_metric`.
        optimizer, learning_rate, learning_rate_scale, encoder_learning_rate_factor, weight_decay, power, warmup_steps,
            freeze_batch_norm, compile: See `SegmentationTask`.
        test_scales: Scales of the `test` and `validate` commands; validation during training uses scale 1 only.
        test_flip: Evaluate each of these scales also horizontally flipped.

    Attributes:
        values: The values.
        results: Results of the last evaluations, by `val` and `test`.

    Raises:
        ValueError: An argument is outside its range, or there is no such loss.
    """

    criterion: ValueLoss

    def __init__(
        self,
        network: nn.Module,
        values: Values | dict[str, Any],
        loss: str | Mapping[str, float] = "l1",
        activation: Activation = "none",
        metric_options: dict[str, Any] | None = None,
        optimizer: OptimizerName = "sgd",
        learning_rate: float = 5e-4,
        learning_rate_scale: float = 1.0,
        encoder_learning_rate_factor: float = 0.1,
        weight_decay: float = 5e-4,
        power: float = 0.9,
        warmup_steps: int = 0,
        freeze_batch_norm: bool = True,
        compile: bool = False,
        test_scales: Sequence[float] = (1.0,),
        test_flip: bool = False,
    ):
        super().__init__()
        self.values = values if isinstance(values, Values) else Values.from_dict(values)
        self.save_hyperparameters(ignore=["network", "values"])
        self.save_hyperparameters({"values": self.values.to_dict()})
        check_training_arguments(self.hparams)
        self.training_inference = ValueInference()
        self.test_inference = ValueInference(tuple(test_scales), test_flip)
        self.configure(network)
        self.results: dict[str, ValueResult] = {}

    def configure_losses(self) -> None:
        """Set `criterion` by its name."""
        loss = self.hparams["loss"]
        weights = {loss: 1.0} if isinstance(loss, str) else dict(loss)
        if unknown := [name for name in weights if name not in LOSSES]:
            raise ValueError(f"loss is {unknown[0]!r}; choose one of {', '.join(LOSSES)}")
        losses = [LOSSES[name]() for name in weights]
        self.criterion = losses[0] if isinstance(loss, str) else WeightedSum(losses, list(weights.values()))

    def configure_metrics(self) -> None:
        """Set `evaluators`, one for each of `val` and `test`."""
        activation, options = self.hparams["activation"], self.hparams["metric_options"]
        self.evaluators = nn.ModuleDict(
            {
                stage: ValueEvaluator(self.values, activation, self.criterion, build_metric(self.values, options))
                for stage in ("val", "test")
            }
        )

    def evaluator(self, stage: str) -> ValueEvaluator:
        """The evaluator of `val` or `test`."""
        evaluator = self.evaluators[stage]
        assert isinstance(evaluator, ValueEvaluator)
        return evaluator

    def forward(self, image: Tensor) -> Tensor:
        """Values of whole images: uint8 (N, 3, H, W) -> float (N, channels, H, W)."""
        return activate(self.dense_network(self._normalize(image)), self.hparams["activation"])

    def predict_values(self, image: Tensor, inference: ValueInference | None = None) -> Tensor:
        """Predict values of whole images.

        Args:
            image: uint8 (N, 3, H, W).
            inference: Views of the images; None for one view at scale 1.

        Returns:
            Float (N, channels, H, W).
        """
        view = inference or self.training_inference
        return view.predict(self.dense_network, image, self._normalize, self.hparams["activation"], self.values)

    def training_step(self, batch: dict[str, Any], batch_index: int) -> Tensor:
        """Compute the mean loss of a batch, for gradients of the mean over the optimizer step, see `GlobalMeanLoss`."""
        self._seed(batch)
        target = batch["target"].as_subclass(Tensor)
        return self.global_loss.add(*self.criterion(self(batch["image"]), target, ~target.isnan()))

    def on_validation_start(self) -> None:
        """Choose the views, reset the sums and check for divergence."""
        training = self.trainer.state.fn == "fit"
        self._start("val", self.training_inference if training else self.test_inference)
        self._end_if_diverged()

    def on_test_start(self) -> None:
        """Choose the views and reset the sums."""
        self._start("test", self.test_inference)

    def validation_step(self, batch: dict[str, Any], batch_index: int) -> None:
        """Evaluate a batch."""
        self._evaluate("val", batch)

    def test_step(self, batch: dict[str, Any], batch_index: int) -> None:
        """Evaluate a batch."""
        self._evaluate("test", batch)

    def on_validation_epoch_end(self) -> None:
        """Log and keep the scores."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Log and keep the scores."""
        self._finish("test")

    def _start(self, stage: str, inference: ValueInference) -> None:
        evaluator = self.evaluator(stage)
        evaluator.inference = inference
        evaluator.reset()

    def _evaluate(self, stage: str, batch: dict[str, Any]) -> None:
        target = batch["target"].as_subclass(Tensor)
        self.evaluator(stage).update(self.dense_network, batch["image"], target, self._normalize)

    def _finish(self, stage: str) -> None:
        """Log and keep the result of an evaluation."""
        result = self.evaluator(stage).compute()
        self.results[stage] = result
        scores = {name: getattr(result.scores, name) for name in result.scores.HIGHER_IS_BETTER}
        known = {name: score for name, score in scores.items() if score is not None}
        if known and not math.isfinite(result.loss):
            advice = f"try a higher trainer.precision (now {self.trainer.precision})"
            raise DivergenceError(self.trainer.global_step, f"the loss on {stage} is", advice)
        self.log(f"{stage}/loss", torch.tensor(result.loss))
        self.log_dict({f"{stage}/{name}": score for name, score in known.items()})
