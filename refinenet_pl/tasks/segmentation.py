"""Lightning module that trains and evaluates any network from images to class scores."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.meaning_files import meaning_files
from refinenet_pl.evaluation.evaluator import Evaluator
from refinenet_pl.evaluation.inference import Inference, Protocol, void_last
from refinenet_pl.evaluation.result import EvaluationResult
from refinenet_pl.metrics.confusion import Scores
from refinenet_pl.models.dense_network import has_score_map
from refinenet_pl.models.refinenet import VoidChannel
from refinenet_pl.tasks.arguments import check_arguments
from refinenet_pl.tasks.class_matching import NOT_RESUMED, MatchClasses, match_classes
from refinenet_pl.tasks.dense import DenseTask
from refinenet_pl.tasks.losses.cross_entropy import CrossEntropy
from refinenet_pl.tasks.losses.segmentation import LossName, build_loss
from refinenet_pl.tasks.losses.segmentation_loss import SegmentationLoss
from refinenet_pl.tasks.optimizers import OptimizerFactory, OptimizerName, ScheduleFactory, ScheduleName


class SegmentationTask(DenseTask):
    """Semantic segmentation: loss, optimizer, schedule, and evaluation.

    Args:
        network: Maps float (N, 3, H, W) to logits (N, classes, H, W). If it has an `encoder`, the encoder's parameters have
            their own learning rate. Images are normalized with its `normalization`, or else with ImageNet's.
        classes: Number of classes; set by the dataset.
        ignore_index: Label of void pixels; set by the dataset.
        loss: Loss of the training: a name in `SEGMENTATION_LOSSES`, the weights of several names, or a module, see
            `build_loss`. The reported `val/loss` is always the cross-entropy, to compare losses.
        optimizer: `sgd` with momentum 0.9, as in the paper, `adamw`, or the class path of another optimizer with its arguments.
            Learning rate and weight decay are those below.
        scheduler: `poly`, or the class path of a schedule, which is advanced after each optimizer step.
        learning_rate: Learning rate of all parameters outside the encoder.
        learning_rate_scale: Factor of all learning rates, for tables that vary the rate of a recipe.
        encoder_learning_rate_factor: Factor of the encoder's learning rate; 0.1 in the authors' code. 0 freezes the encoder,
            which saves most of a step's time on a CPU.
        weight_decay: Weight decay.
        decay_all: Decay all parameters, including biases and normalization, as in the authors' code; False to omit these.
        layer_decay: Factor of the learning rate from each stage of the encoder to the preceding one; 1 for one rate.
        power: Exponent of the poly schedule, rate x (1 - step / steps) ** power; 0 for a constant rate. The authors lowered
            the rate by hand.
        warmup_steps: Steps over which the rate increases linearly from a hundredth.
        freeze_batch_norm: Freeze the running statistics of the encoder's batch normalization, as in the authors' code; its
            scale and shift are still trained. Batch normalization in a decoder, which RefineNet's lacks, always updates them;
            in a network without an `encoder`, all are frozen.
        freeze: Parts that are not trained: `encoder`, `decoder` (all but the encoder and the last layer), or patterns of
            parameter names. Their batch normalization keeps its running statistics.
        loss_at: `image`: the logits are upsampled to the labels' size, in chunks of rows that bound the memory. `score_map`:
            the labels are downsampled to the logits' size, as in the authors' code, for a network with a `score_map` method.
        compile: Compile the network with torch.compile. The first step takes a minute or more; checkpoints do not change.
        class_weights: Weight of each class in the loss; None for equal weights, as in the paper. On the command line,
            `dataset` stands for the weights of the dataset's class.
        protocol: `standard`, or `paper` to score as the authors' code, see `Inference`; classes that do not occur in the
            labels are then excluded from the mean. The authors' factor of 1.2 is the network's `input_scale`, because it also
            applies to training.
        void_output: Add an output for void to the network if the authors' network for the dataset has one. No label trains it,
            but it is part of the softmax. None: only with `protocol: paper`.
        test_scales: Scales of the `test` and `validate` commands, and of an additional validation at the end of training;
            (0.4, 0.6, 0.8, 1.0, 1.2) in the authors' code. Validation during training uses scale 1 only.
        test_flip: Evaluate each of these scales also horizontally flipped.
        tile: (height, width) of tiles for images that do not fit in memory, see `Inference`; None to evaluate whole images.
        tile_overlap: Min share of a tile that its neighbor also covers.
        void_channel: Position of the network's void output; set by the dataset and `void_output`.
        short_edge: Min and max short edge, in pixels, with `protocol: paper`; set by the dataset.
        match_classes: Matching of a checkpoint's classes with the dataset's in evaluation, see `MatchClasses`.
        metrics: Metrics of torchmetrics, or subclasses of its `Metric`, by name, that are evaluated beside the built-in ones:
            `update` accepts predicted class ids and labels, int64 (N, H, W), and `compute` returns one number.

    Attributes:
        data_classes: Classes of the dataset; None before `setup`.
    """

    criterion: CrossEntropy
    training_loss: SegmentationLoss
    training_inference: Inference
    test_inference: Inference
    results: dict[str, EvaluationResult[Scores]]

    def __init__(
        self,
        network: nn.Module,
        classes: int,
        ignore_index: int = 255,
        loss: LossName | nn.Module | dict[str, float] | str = "cross_entropy",
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
        loss_at: Literal["image", "score_map"] = "image",
        compile: bool = False,
        class_weights: list[float] | Literal["dataset"] | None = None,
        protocol: Protocol = "standard",
        void_output: bool | None = None,
        test_scales: Sequence[float] = (1.0,),
        test_flip: bool = False,
        tile: tuple[int, int] | None = None,
        tile_overlap: float = 0.25,
        void_channel: VoidChannel | None = None,
        short_edge: tuple[int, int] = (450, 800),
        match_classes: MatchClasses = "exact",
        metrics: dict[str, Metric] | None = None,
    ):
        super().__init__()
        # A checkpoint holds plain data only; modules and classes are in the run's configuration.
        chosen = {"loss": loss, "optimizer": optimizer, "scheduler": scheduler}
        left_out = [name for name, choice in chosen.items() if callable(choice)]
        self.save_hyperparameters(ignore=["network", "match_classes", "metrics", *left_out])
        self.optimizer_choice, self.schedule_choice = optimizer, scheduler
        self._loss = (loss,)  # in a tuple, because a module as an attribute would be part of the state dict twice
        check_arguments(self.hparams)
        if loss_at == "score_map" and not has_score_map(network):
            raise ValueError(f"loss_at is score_map, but {type(network).__name__} has no score map; use loss_at: image")
        self.match_classes = match_classes
        self.test_inference = Inference(
            protocol,
            tuple(test_scales),
            test_flip,
            None if tile is None else (tile[0], tile[1]),  # a checkpoint holds lists
            tile_overlap,
            (short_edge[0], short_edge[1]),
            void_channel,
        )
        self.training_inference = replace(self.test_inference, scales=(1.0,), flip=False)
        self.configure(network, metrics)
        self.data_classes: Classes | None = None

    def configure_losses(self) -> None:
        """Set `criterion`, the cross-entropy that is reported, and `training_loss` by its name or module."""
        weights = self.hparams["class_weights"]
        if weights is not None and self.hparams["void_channel"] is not None:
            weights = [*weights, 1.0]
        self.criterion = CrossEntropy(weights, self.hparams["ignore_index"])
        self.training_loss = build_loss(self._loss[0], self.hparams["ignore_index"], weights)

    def configure_metrics(self) -> None:
        """Set `evaluators`, one for each of `val` and `test`."""
        classes, ignore_index = self.hparams["classes"], self.hparams["ignore_index"]
        self.evaluators = nn.ModuleDict(
            {stage: Evaluator(classes, ignore_index, self.training_inference, self.criterion) for stage in ("val", "test")}
        )

    @property
    def score_set(self) -> type[Scores]:
        """Class of the scores."""
        return Scores

    def evaluator(self, stage: str) -> Evaluator:
        """The evaluator of `val` or `test`."""
        evaluator = self.evaluators[stage]
        assert isinstance(evaluator, Evaluator)
        return evaluator

    def setup(self, stage: str) -> None:
        """Get the classes from the data module; with plain data loaders, they are numbered."""
        module = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it outside the class
        classes, ignore_index = self.hparams["classes"], self.hparams["ignore_index"]
        self.data_classes = Classes.numbered(classes, ignore_index) if module is None else module.classes
        if module is not None and stage == "fit":
            self.describe_network(meaning_files(self.data_classes, None, getattr(module, "image_format", None)))

    def forward(self, image: Tensor) -> Tensor:
        """Class scores of whole images in 0..255: (N, C, H, W) -> logits, float (N, channels, H, W), void after the classes."""
        return void_last(self.dense_network(self._normalize(image)), self.hparams["void_channel"])

    def log_probabilities(self, image: Tensor, inference: Inference | None = None) -> Iterator[tuple[slice, Tensor]]:
        """Compute log probabilities in chunks of rows, see `Inference.log_probabilities`.

        Args:
            image: uint8 or float (N, C, H, W) in 0..255.
            inference: View of the images; None for one view at scale 1.

        Yields:
            The rows, and their log probabilities, float32 (N, classes, rows, W), with void after the classes if it can be
            predicted.
        """
        return (inference or self.training_inference).log_probabilities(self.dense_network, image, self._normalize)

    def predict_mask(self, image: Tensor, inference: Inference | None = None) -> Tensor:
        """Predict class ids of whole images, never void.

        Args:
            image: uint8 or float (N, C, H, W) in 0..255.
            inference: View of the images; None for one view at scale 1.

        Returns:
            (N, H, W): uint8 up to 256 classes, int64 with more.

        Raises:
            FloatingPointError: Class scores are NaN, whose argmax would be class 0.
        """
        classes = self.hparams["classes"]
        dtype = torch.uint8 if classes <= 256 else torch.int64
        mask = torch.empty(image.shape[0], *image.shape[-2:], dtype=dtype, device=image.device)
        unknown = torch.zeros((), dtype=torch.bool, device=image.device)
        for rows, part in self.log_probabilities(image, inference):
            largest, mask[:, rows] = part[:, :classes].max(1)
            unknown |= largest.isnan().any()
        if unknown:
            raise FloatingPointError("class scores are NaN; the network's values are too large for its precision")
        return mask

    def training_step(self, batch: dict[str, Any], batch_index: int) -> Tensor:
        """Compute the mean loss of a batch, for gradients of the mean over the optimizer step, see `GlobalMeanLoss`."""
        image, label = self._normalize(batch["image"]), batch["mask"].as_subclass(Tensor)
        self._seed(batch)
        network = self.dense_network
        scores = void_last(network.score_map(image), self.hparams["void_channel"])
        if self.hparams["loss_at"] == "score_map":
            label = F.interpolate(label[:, None].float(), scores.shape[-2:], mode="nearest-exact")[:, 0].long()
        return self.global_loss.add(*self.training_loss(scores, label, network.upsampling))

    def predict_batch(self, image: Tensor) -> Tensor:
        """Predict class ids with the view of `test`, see `predict_mask`."""
        return self.predict_mask(image, self.test_inference)

    def evaluate(self, stage: str, batch: dict[str, Any]) -> None:
        """Add a batch to the evaluator of `val` or `test`."""
        label = batch["mask"].as_subclass(Tensor)
        names = batch.get("name", ())
        prediction = self.evaluator(stage).update(self.dense_network, batch["image"], label, self._normalize, names)
        self.measured(stage).update(prediction, label)

    def compute_result(self, stage: str, weights: str, pooling_activity: Sequence[float]) -> EvaluationResult[Scores]:
        """Compute the result of the evaluator of `val` or `test`."""
        assert self.data_classes is not None
        return self.evaluator(stage).compute(self.data_classes.names, weights, pooling_activity)

    def log_parts(self, stage: str, result: EvaluationResult[Scores]) -> None:
        """Log the IoU of each class."""
        self.log_dict({f"{stage}/iou/{name}": value for name, value in result.scores.iou.items() if value is not None})

    def match(self, own: Classes | None, dataset: Classes, place: str) -> None:
        """Match the network's classes with those of a dataset to evaluate on, by `match_classes`.

        Args:
            own: Classes of the network; None if unknown.
            dataset: Classes of the dataset.
            place: Checkpoint to name in errors.

        Raises:
            CheckpointError: They differ in a way that `match_classes` does not allow.
        """
        channels = match_classes(own, dataset, self.match_classes, place)
        for stage in self.evaluators:
            self.evaluator(stage).class_channels = channels

    def match_checkpoint(self, checkpoint: dict[str, Any], place: str) -> None:
        """Match a checkpoint's classes with the dataset's.

        Raises:
            CheckpointError: They differ in a way that is not allowed.
        """
        assert self.data_classes is not None, "Lightning calls setup before it loads a checkpoint"
        classes = checkpoint.get("data_classes")
        own = Classes.from_dict(classes) if classes else None
        if self.trainer.state.fn == "fit":
            match_classes(own, self.data_classes, "exact", place, NOT_RESUMED)
        else:
            self.match(own, self.data_classes, place)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the network's arguments, the task's class and the dataset's classes.

        Raises:
            DivergenceError: A loss, a gradient norm or a weight is NaN or infinite.
        """
        super().on_save_checkpoint(checkpoint)
        if self.data_classes is not None:
            checkpoint["data_classes"] = self.data_classes.to_dict()
