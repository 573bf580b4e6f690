"""Lightning module that trains and evaluates any network from images to continuous values."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CheckpointError
from refinenet_pl.evaluation.result import EvaluationResult
from refinenet_pl.evaluation.value_evaluator import ValueEvaluator, build_metric, scores_of
from refinenet_pl.evaluation.value_inference import Activation, ValueInference, activate
from refinenet_pl.metrics.score import ScoreSet
from refinenet_pl.tasks.arguments import check_training_arguments
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.losses.value_loss import ValueLoss
from refinenet_pl.tasks.losses.values import LOSSES, WeightedSum
from refinenet_pl.tasks.optimizers import OptimizerFactory, OptimizerName, ScheduleFactory, ScheduleName


class RegressionTask(DenseTask):
    """Dense regression: depth, normals, heatmaps or other values of each pixel.

    Args:
        network: Maps float (N, 3, H, W) to float (N, channels, H, W), with a channel for each value.
        values: The values of the dataset, as `Values` or as its plain data.
        loss: Name of a loss in `LOSSES`, or the weights of several.
        activation: Mapping from the network's output to values.
        metric_options: Arguments of the metric, see `build_metric`.
        optimizer, scheduler, learning_rate, learning_rate_scale, encoder_learning_rate_factor, weight_decay, decay_all, power,
            warmup_steps, freeze_batch_norm, freeze, compile: See `SegmentationTask`.
        test_scales: Scales of the `test` and `validate` commands; validation during training uses scale 1 only.
        test_flip: Evaluate each of these scales also horizontally flipped.
        tile: (height, width) of tiles for images that do not fit in memory, see `ValueInference`; None for whole images.
        tile_overlap: Min share of a tile that its neighbor also covers.

    Attributes:
        values: The values.

    Raises:
        ValueError: An argument is outside its range, or there is no such loss.
    """

    criterion: ValueLoss
    training_inference: ValueInference
    test_inference: ValueInference

    def __init__(
        self,
        network: nn.Module,
        values: Values | dict[str, Any],
        loss: str | Mapping[str, float] = "l1",
        activation: Activation = "none",
        metric_options: dict[str, Any] | None = None,
        optimizer: OptimizerName | OptimizerFactory = "sgd",
        scheduler: ScheduleName | ScheduleFactory = "poly",
        learning_rate: float = 5e-4,
        learning_rate_scale: float = 1.0,
        encoder_learning_rate_factor: float = 0.1,
        weight_decay: float = 5e-4,
        decay_all: bool = True,
        power: float = 0.9,
        warmup_steps: int = 0,
        freeze_batch_norm: bool = True,
        freeze: Sequence[str] | None = None,
        compile: bool = False,
        test_scales: Sequence[float] = (1.0,),
        test_flip: bool = False,
        tile: tuple[int, int] | None = None,
        tile_overlap: float = 0.25,
    ):
        super().__init__()
        self.values = values if isinstance(values, Values) else Values.from_dict(values)
        left_out = [name for name, choice in {"optimizer": optimizer, "scheduler": scheduler}.items() if callable(choice)]
        self.save_hyperparameters(ignore=["network", "values", *left_out])
        self.optimizer_choice, self.schedule_choice = optimizer, scheduler
        self.save_hyperparameters({"values": self.values.to_dict()})
        check_training_arguments(self.hparams)
        tiles = None if tile is None else (tile[0], tile[1])  # a checkpoint holds lists
        self.training_inference = ValueInference(tile=tiles, tile_overlap=tile_overlap)
        self.test_inference = replace(self.training_inference, scales=tuple(test_scales), flip=test_flip)
        self.configure(network)

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

    def predict_batch(self, image: Tensor) -> Tensor:
        """Predict values with the view of `test`, see `predict_values`."""
        return self.predict_values(image, self.test_inference)

    def evaluate(self, stage: str, batch: dict[str, Any]) -> None:
        """Add a batch to the evaluator of `val` or `test`."""
        target = batch["target"].as_subclass(Tensor)
        self.evaluator(stage).update(self.dense_network, batch["image"], target, self._normalize)

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
