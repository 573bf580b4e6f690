"""Lightning module that trains and evaluates any network from images to continuous values."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torchmetrics import Metric

from refinenet_pl.datasets.meaning_files import meaning_files
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CheckpointError
from refinenet_pl.evaluation.result import EvaluationResult
from refinenet_pl.evaluation.value_evaluator import ValueEvaluator, build_metric, scores_of
from refinenet_pl.evaluation.value_inference import Activation, ValueInference, activate
from refinenet_pl.metrics.score import ScoreSet
from refinenet_pl.tasks.arguments import check_training_arguments
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.losses.value_loss import ValueLoss
from refinenet_pl.tasks.losses.values import LossName, build_loss
from refinenet_pl.tasks.optimizers import OptimizerFactory, OptimizerName, ScheduleFactory, ScheduleName


class RegressionTask(DenseTask):
    """Dense regression: depth, normals, heatmaps, labels or other values of each pixel.

    Args:
        network: Maps float (N, 3, H, W) to float (N, channels, H, W), with a channel for each value.
        values: The values of the dataset, as `Values` or as its plain data.
        loss: Name of a loss, weights of several names, or a module; see `build_loss`.
        activation: Mapping from the network's output to values.
        metric_options: Arguments of the metric, see `build_metric`.
        optimizer, scheduler, learning_rate, learning_rate_scale, encoder_learning_rate_factor, weight_decay, decay_all,
            layer_decay, power, warmup_steps, freeze_batch_norm, freeze, compile: See `SegmentationTask`.
        test_scales: Scales of the `test` and `validate` commands; validation during training uses scale 1 only.
        test_flip: Evaluate each of these scales also horizontally flipped.
        tile: (height, width) of tiles for images that do not fit in memory, see `ValueInference`; None for whole images.
        tile_overlap: Min share of a tile that its neighbor also covers.
        metrics: Metrics of torchmetrics, or subclasses of its `Metric`, by name, that are evaluated beside the built-in ones:
            `update` accepts the predicted and the known values of the pixels that count, float (M,), and `compute` returns one
            number.

    Attributes:
        values: The values.

    Raises:
        ValueError: An argument is outside its range, there is no such loss, or the activation is not for it or for labels.
    """

    criterion: ValueLoss
    training_inference: ValueInference
    test_inference: ValueInference

    def __init__(
        self,
        network: nn.Module,
        values: Values | dict[str, Any],
        loss: LossName | nn.Module | dict[str, float] | str = "l1",
        activation: Activation = "none",
        metric_options: dict[str, Any] | None = None,
        optimizer: OptimizerName | OptimizerFactory = "sgd",
        scheduler: ScheduleName | ScheduleFactory = "poly",
        learning_rate: float = 5e-4,
        learning_rate_scale: float = 1.0,
        encoder_learning_rate_factor: float = 0.1,
        weight_decay: float = 5e-4,
        decay_all: bool = True,
        layer_decay: float = 1.0,
        power: float = 0.9,
        warmup_steps: int = 0,
        freeze_batch_norm: bool = True,
        freeze: Sequence[str] | None = None,
        compile: bool = False,
        test_scales: Sequence[float] = (1.0,),
        test_flip: bool = False,
        tile: tuple[int, int] | None = None,
        tile_overlap: float = 0.25,
        metrics: dict[str, Metric] | None = None,
    ):
        super().__init__()
        self.values = values if isinstance(values, Values) else Values.from_dict(values)
        if self.values.kind == "labels" and activation != "sigmoid":
            raise ValueError(f"activation is {activation!r}, but labels are predicted as probabilities; set it to sigmoid")
        # A checkpoint holds plain data only; modules and classes are in the run's configuration.
        chosen = {"loss": loss, "optimizer": optimizer, "scheduler": scheduler}
        left_out = [name for name, choice in chosen.items() if callable(choice)]
        self.save_hyperparameters(ignore=["network", "values", "metrics", *left_out])
        self.optimizer_choice, self.schedule_choice = optimizer, scheduler
        self._loss = (loss,)  # in a tuple, because a module as an attribute would be part of the state dict twice
        self.save_hyperparameters({"values": self.values.to_dict()})
        check_training_arguments(self.hparams)
        tiles = None if tile is None else (tile[0], tile[1])  # a checkpoint holds lists
        self.training_inference = ValueInference(tile=tiles, tile_overlap=tile_overlap)
        self.test_inference = replace(self.training_inference, scales=tuple(test_scales), flip=test_flip)
        self.configure(network, metrics)

    def configure_losses(self) -> None:
        """Set `criterion` by its name or module."""
        self.criterion = build_loss(self._loss[0], self.hparams["activation"])

    def configure_metrics(self) -> None:
        """Set `evaluators`, one for each of `val` and `test`."""
        activation, options, logits = self.hparams["activation"], self.hparams["metric_options"], self.criterion.logits
        self.evaluators = nn.ModuleDict(
            {
                stage: ValueEvaluator(self.values, activation, self.criterion, build_metric(self.values, options), logits)
                for stage in ("val", "test")
            }
        )

    def setup(self, stage: str) -> None:
        """Let the network carry the meaning of its channels."""
        module = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it outside the class
        if stage == "fit":
            image_format = getattr(module, "image_format", None)
            self.describe_network(meaning_files(self.values, self.hparams["activation"], image_format))

    @property
    def score_set(self) -> type[ScoreSet]:
        """Class of the scores."""
        return scores_of(self.values)

    def evaluator(self, stage: str) -> ValueEvaluator:
        """The evaluator of `val` or `test`."""
        evaluator = self.evaluators[stage]
        assert isinstance(evaluator, ValueEvaluator)
        return evaluator

    def forward(self, image: Tensor) -> Tensor:
        """Values of whole images in 0..255: (N, C, H, W) -> float (N, channels, H, W)."""
        return activate(self._output(image), self.hparams["activation"])

    def _output(self, image: Tensor) -> Tensor:
        """Output of the network before the activation, of the same shape."""
        return self.dense_network(self._normalize(image))

    def predict_values(self, image: Tensor, inference: ValueInference | None = None) -> Tensor:
        """Predict values of whole images.

        Args:
            image: uint8 or float (N, C, H, W) in 0..255.
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
        prediction = self._output(batch["image"]) if self.criterion.logits else self(batch["image"])
        return self.global_loss.add(*self.criterion(prediction, target, ~target.isnan()))

    def predict_batch(self, image: Tensor) -> Tensor:
        """Predict values with the view of `test`, see `predict_values`."""
        return self.predict_values(image, self.test_inference)

    def evaluate(self, stage: str, batch: dict[str, Any]) -> None:
        """Add a batch to the evaluator of `val` or `test`."""
        target = batch["target"].as_subclass(Tensor)
        names = batch.get("name", ())
        prediction = self.evaluator(stage).update(self.dense_network, batch["image"], target, self._normalize, names)
        known = ~target.isnan()
        self.measured(stage).update(prediction[known], target[known])

    def compute_result(self, stage: str, weights: str, pooling_activity: Sequence[float]) -> EvaluationResult[ScoreSet]:
        """Compute the result of the evaluator of `val` or `test`."""
        return self.evaluator(stage).compute(weights, pooling_activity)

    def match_checkpoint(self, checkpoint: dict[str, Any], place: str) -> None:
        """Compare the values of a checkpoint with the dataset's.

        Raises:
            CheckpointError: They differ.
        """
        content = checkpoint.get("hyper_parameters", {}).get("values")
        if content is None:
            raise CheckpointError(f"{place}: predicts classes, not values; use a recipe with its task")
        self.match(Values.from_dict(content), self.values, place)

    def match(self, own: Values, dataset: Values, place: str) -> None:
        """Compare the values of the network with those of a dataset to evaluate on.

        Args:
            own: Values of the network.
            dataset: Values of the dataset.
            place: Checkpoint to name in errors.

        Raises:
            CheckpointError: Their names, meaning or unit differ.
        """
        for fact in ("kind", "names", "unit"):
            known, needed = getattr(own, fact), getattr(dataset, fact)
            if known != needed:
                raise CheckpointError(
                    f"{place}: its values have the {fact} {known!r}, but those of the dataset {needed!r}; use the dataset that "
                    "it was trained on"
                )
