"""Train and evaluate any network that maps images to class scores."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.errors import CheckpointError
from refinenet_pl.evaluation.evaluator import EvaluationResult, Evaluator
from refinenet_pl.evaluation.inference import Inference, Protocol, void_last
from refinenet_pl.files import slug
from refinenet_pl.metrics.dead_relu import PoolingActivity
from refinenet_pl.models.dense_network import DenseNetwork, arguments_of, as_dense_network, has_score_map
from refinenet_pl.models.ops.dropout import set_sample_seeds
from refinenet_pl.models.refinenet import VoidChannel
from refinenet_pl.seeds import derive_seed
from refinenet_pl.state_dicts import describe_nonfinite, digest, nonfinite
from refinenet_pl.tasks.arguments import check_arguments
from refinenet_pl.tasks.class_matching import NOT_RESUMED, MatchClasses, match_classes
from refinenet_pl.tasks.divergence import DivergenceError, DivergenceWatch, advice_against_divergence
from refinenet_pl.tasks.losses.cross_entropy import CrossEntropy
from refinenet_pl.tasks.losses.global_mean import GlobalMeanLoss
from refinenet_pl.tasks.optimizers import OptimizerName, build_optimizer, build_schedule


class SegmentationTask(LightningModule):
    """Semantic segmentation: loss, optimizer, schedule, and evaluation.

    Args:
        network: Maps float (N, 3, H, W) to logits (N, classes, H, W). The parameters of its `encoder`, if it has one, learn at
            their own rate; its `normalization`, if it has one, is applied to the images, else ImageNet's.
        classes: Number of classes; given by the dataset.
        ignore_index: Label of void pixels; given by the dataset.
        optimizer: `sgd` with momentum 0.9, as the paper, or `adamw`.
        learning_rate: Of everything but the encoder.
        learning_rate_scale: Multiplies all rates; for tables that vary the rate around a recipe's own.
        encoder_learning_rate_factor: The encoder's rate as a share of the others'; 0.1 in the authors' code. With 0 the encoder
            is frozen, which saves most of a step's time on a CPU.
        weight_decay: Of all parameters, biases and normalization too, as in the authors' code.
        power: Of the poly schedule: rate x (1 - step / steps) ** power. The authors lowered the rate by hand instead; 0 keeps
            it constant.
        warmup_steps: Steps over which the rate rises from a hundredth.
        freeze_batch_norm: Keep the running statistics of the encoder's batch normalization in training, as in the authors'
            code; its scale and shift are trained all the same. Batch normalization in a decoder, which RefineNet's does not
            have, always updates them; in a network without an `encoder` all keep theirs.
        loss_at: `image`: the logits are upsampled to the labels' size, in chunks of rows that bound the memory. `score_map`:
            the labels are downsampled to the logits' size, as in the authors' code; for a network with a `score_map` method.
        compile: Compile the network with torch.compile. The first step takes a minute or more; checkpoints are the same.
        class_weights: Weight of each class in the loss; None for equal weights, as in the paper. `dataset`, on the command
            line, stands for those that the dataset's class has.
        protocol: `standard`, or `paper` to score as the authors' code does, see `Inference`; classes that do not occur in the
            labels are then left out of the mean. The authors' factor of 1.2 is the network's `input_scale`, for training has it
            too.
        void_output: Give the network an output for void if the authors' network for the dataset has one. It is never trained
            to win; the others are trained against it. None: with `protocol: paper` only.
        test_scales: Scales of the `test` and `validate` commands, and of one more validation when training has ended.
            (0.4, 0.6, 0.8, 1.0, 1.2) in the authors' code. Validation while training has scale 1 alone.
        test_flip: Evaluate each of these scales horizontally flipped, too.
        tile: (height, width) of tiles for images that do not fit in memory, see `Inference`; None to evaluate them whole.
        tile_overlap: Min share of a tile that the next one covers too.
        void_channel: Place of the network's void output; given by the dataset and `void_output`.
        short_edge: Limits of the short edge under `paper`; given by the dataset.
        match_classes: How evaluation matches a checkpoint's classes with those of the dataset, see `MatchClasses`.

    Attributes:
        network: The network.
        results: Results of the last evaluations, by `val` and `test`.
        training_inference: View of the images while training: scale 1 alone.
        test_inference: View of the images of `Trainer.validate` and `Trainer.test`.
    """

    def __init__(
        self,
        network: nn.Module,
        classes: int,
        ignore_index: int = 255,
        optimizer: OptimizerName = "sgd",
        learning_rate: float = 5e-4,
        learning_rate_scale: float = 1.0,
        encoder_learning_rate_factor: float = 0.1,
        weight_decay: float = 5e-4,
        power: float = 0.9,
        warmup_steps: int = 0,
        freeze_batch_norm: bool = True,
        loss_at: Literal["image", "score_map"] = "image",
        compile: bool = False,
        class_weights: list[float] | Literal["dataset"] | None = None,
        protocol: Protocol = "standard",
        void_output: bool | None = None,
        test_scales: list[float] = (1.0,),
        test_flip: bool = False,
        tile: tuple[int, int] | None = None,
        tile_overlap: float = 0.25,
        void_channel: VoidChannel | None = None,
        short_edge: tuple[int, int] = (450, 800),
        match_classes: MatchClasses = "exact",
    ):
        super().__init__()
        self.save_hyperparameters(ignore=["network", "match_classes"])
        check_arguments(self.hparams)
        if loss_at == "score_map" and not has_score_map(network):
            raise ValueError(f"loss_at is score_map, but {type(network).__name__} has no score map; use loss_at: image")
        self.match_classes = match_classes
        self.test_inference = Inference(
            protocol, tuple(test_scales), test_flip, tile and tuple(tile), tile_overlap, tuple(short_edge), void_channel
        )
        self.training_inference = replace(self.test_inference, scales=(1.0,), flip=False)
        self.configure_network(network)
        self.configure_losses()
        self.configure_metrics()
        self.divergence = DivergenceWatch()
        self.results: dict[str, EvaluationResult] = {}
        self.data_classes: Classes | None = None
        self._forced_view: Inference | None = None
        self._has_fitted = False

    def configure_network(self, network: nn.Module) -> None:
        """Take the network: freeze its encoder, compile it, and note the normalization of its input."""
        if self.hparams.encoder_learning_rate_factor == 0 and as_dense_network(network).encoder is not None:
            as_dense_network(network).encoder.requires_grad_(False)
        self.network = network
        if self.hparams.compile:
            from refinenet_pl.tasks.compilation import compile_network  # seconds of import that few need

            compile_network(network)
        mean, std = self.dense_network.normalization
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1), persistent=False)

    def configure_losses(self) -> None:
        """Make `criterion`, sums over pixels, and `global_loss`, their mean over an optimizer step."""
        h = self.hparams
        weights = None if h.class_weights is None else [*h.class_weights, *[1.0] * (h.void_channel is not None)]
        self.criterion = CrossEntropy(weights, h.ignore_index)
        self.global_loss = GlobalMeanLoss()

    def configure_metrics(self) -> None:
        """Make `evaluators`, one for each of `val` and `test`, and `activity`, see `PoolingActivity`."""
        classes, ignore_index = self.hparams.classes, self.hparams.ignore_index
        self.evaluators = nn.ModuleDict(
            {stage: Evaluator(classes, ignore_index, self.training_inference, self.criterion) for stage in ("val", "test")}
        )
        self.activity = PoolingActivity(self.network)

    def configure_optimizers(self) -> dict:
        """The optimizer and its schedule, see the arguments."""
        h = self.hparams
        rate = h.learning_rate * h.learning_rate_scale
        encoder = self.dense_network.encoder
        optimizer = build_optimizer(h.optimizer, self.network, encoder, rate, h.encoder_learning_rate_factor, h.weight_decay)
        schedule = build_schedule(optimizer, int(self.trainer.estimated_stepping_batches), h.power, h.warmup_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def dense_network(self) -> DenseNetwork:
        """The network by its contract."""
        return as_dense_network(self.network)

    def setup(self, stage: str) -> None:
        self.data_classes = self.trainer.datamodule.classes

    def forward(self, image: Tensor) -> Tensor:
        """Class scores of whole images: uint8 (N, 3, H, W) -> logits, float (N, channels, H, W), void after the classes."""
        return void_last(self.dense_network(self._normalize(image)), self.hparams.void_channel)

    def log_probabilities(self, image: Tensor, inference: Inference | None = None) -> Iterator[tuple[slice, Tensor]]:
        """Log probabilities in chunks of rows, see `Inference.log_probabilities`.

        Args:
            image: uint8 (N, 3, H, W).
            inference: View of the images; None for one view at scale 1.
        """
        return (inference or self.training_inference).log_probabilities(self.dense_network, image, self._normalize)

    def predict_mask(self, image: Tensor, inference: Inference | None = None) -> Tensor:
        """Predict class ids of whole images, never void.

        Args:
            image: uint8 (N, 3, H, W).
            inference: View of the images; None for one view at scale 1.

        Returns:
            (N, H, W): uint8 up to 256 classes, int64 with more.

        Raises:
            FloatingPointError: Class scores are NaN, of which the largest would be that of class 0.
        """
        dtype = torch.uint8 if self.hparams.classes <= 256 else torch.int64
        mask = torch.empty(image.shape[0], *image.shape[-2:], dtype=dtype, device=image.device)
        unknown = torch.zeros((), dtype=torch.bool, device=image.device)
        for rows, part in self.log_probabilities(image, inference):
            largest, mask[:, rows] = part[:, : self.hparams.classes].max(1)
            unknown |= largest.isnan().any()
        if unknown:
            raise FloatingPointError(
                "class scores are NaN; the network's values are too large for the precision it computes in"
            )
        return mask

    def training_step(self, batch: dict, batch_index: int) -> Tensor:
        """Mean loss of a batch; `train/loss` is the mean over all pixels of the optimizer step, see `GlobalMeanLoss`."""
        image, label = self._normalize(batch["image"]), batch["mask"].as_subclass(Tensor)
        seeds = batch.get("seeds")
        set_sample_seeds(self.network, seeds)
        if seeds is not None:  # for random numbers in networks of others; RefineNet's own dropout goes by sample
            torch.manual_seed(derive_seed(*seeds))
        network = self.dense_network
        scores = void_last(network.score_map(image), self.hparams.void_channel)
        if self.hparams.loss_at == "score_map":
            label = F.interpolate(label[:, None].float(), scores.shape[-2:], mode="nearest-exact")[:, 0].long()
        return self.global_loss.add(*self.criterion.of_score_map(scores, label, network.upsampling))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        loss = self.global_loss.finish(self.network.parameters(), self.trainer)
        self.log("train/loss", loss, prog_bar=True)
        values, precision = [loss], self.trainer.precision_plugin
        if not (isinstance(precision, MixedPrecision) and precision.scaler):  # a scaler skips steps whose gradients overflow
            gradients = [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
            values += [torch.nn.utils.get_total_norm(gradients)] if gradients else []
        step = self.trainer.global_step + 1
        self.divergence.note(step, values)
        if self.divergence.is_due(step):
            self._end_if_diverged(look_at_weights=False)

    @contextmanager
    def viewing(self, inference: Inference) -> Iterator[None]:
        """Evaluate with this view within the block, whatever the trainer does."""
        self._forced_view = inference
        try:
            yield
        finally:
            self._forced_view = None

    def on_validation_start(self) -> None:
        self.activity.reset()
        self._start("val")
        self._end_if_diverged()

    def on_test_start(self) -> None:
        self._start("test")

    def validation_step(self, batch: dict, batch_index: int) -> None:
        if batch_index == 0:
            self._validated = digest(self.network.state_dict())  # callbacks may change weights before the end
        with self.activity.counting() if self._counts_activity else nullcontext():
            self._evaluate("val", batch)

    def test_step(self, batch: dict, batch_index: int) -> None:
        self._evaluate("test", batch)

    def on_validation_epoch_end(self) -> None:
        shares: list[float] = []
        if self._counts_activity:
            shares = self.activity.compute()
            self.log_dict({f"val/active/block_{place}": share for place, share in enumerate(shares, start=1)})
        self._finish("val", self._validated, shares)

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def on_fit_start(self) -> None:
        self._has_fitted = True
        self.train()

    def train(self, mode: bool = True) -> "SegmentationTask":
        """Switch to training, but keep the running statistics of the encoder's batch normalization if `freeze_batch_norm`."""
        super().train(mode)
        if self.hparams.freeze_batch_norm:
            encoder = self.dense_network.encoder
            for module in (self.network if encoder is None else encoder).modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def match(self, own: Classes | None, dataset: Classes, place: str) -> None:
        """Match the network's classes with those of a dataset that it is evaluated on, as `match_classes` says.

        Args:
            own: Classes of the network; None if unknown.
            dataset: Classes of the dataset.
            place: The checkpoint, named in errors.

        Raises:
            CheckpointError: They differ in a way that `match_classes` does not allow.
        """
        channels = match_classes(own, dataset, self.match_classes, place)
        for evaluator in self.evaluators.values():
            evaluator.class_channels = channels

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        if self._trainer is None:  # loaded on its own, by load_from_checkpoint
            return
        place = str(self.trainer.ckpt_path)
        if problem := describe_nonfinite(checkpoint["state_dict"]):
            raise CheckpointError(f"{place}: {problem}")
        classes = checkpoint.get("data_classes")
        own = Classes.from_dict(classes) if classes else None
        if self.trainer.state.fn == "fit":
            match_classes(own, self.data_classes, "exact", place, NOT_RESUMED)
        else:
            self.match(own, self.data_classes, place)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        self._end_if_diverged()
        checkpoint["network"] = arguments_of(self.network)
        if type(self) is not SegmentationTask:
            checkpoint["task"] = f"{type(self).__module__}.{type(self).__qualname__}"
        if self.data_classes is not None:
            checkpoint["data_classes"] = self.data_classes.to_dict()

    @property
    def _counts_activity(self) -> bool:
        # A network that was compiled, or prepared for inference by a program that does not train, no longer has the parts that
        # are counted; and other views are one more validation of the same network.
        return bool(self.activity.units) and self._has_fitted and not (self.hparams.compile or self._view("val").name)

    def _view(self, stage: str) -> Inference:
        return self.evaluators[stage].inference

    def _start(self, stage: str) -> None:
        """Choose the view, and forget the counts of the last evaluation.

        Not at the end of that one: counts that are made in inference mode cannot be used by a training that follows.
        """
        while_training = self.trainer.state.fn == "fit"
        view = self._forced_view or (self.training_inference if while_training else self.test_inference)
        self.evaluators[stage].inference = view
        self.evaluators[stage].reset()

    def _end_if_diverged(self, look_at_weights: bool = True) -> None:
        """End a training with values that are not finite, before they are scored or saved.

        Raises:
            DivergenceError: A loss, a gradient norm or a weight is NaN or infinite.
        """
        found = self.divergence.read()
        if found is None and look_at_weights and nonfinite(self.network.state_dict()):
            found = self.trainer.global_step, "the weights are"
        if found is not None:
            raise DivergenceError(*found, advice_against_divergence(self.hparams, self.trainer))

    def _normalize(self, image: Tensor) -> Tensor:
        return (image.as_subclass(Tensor).to(self.mean.dtype) - self.mean) / self.std

    def _evaluate(self, stage: str, batch: dict) -> None:
        label = batch["mask"].as_subclass(Tensor)
        self.evaluators[stage].update(self.dense_network, batch["image"], label, self._normalize)

    def _finish(self, stage: str, weights: str = "", pooling_activity: Sequence[float] = ()) -> None:
        """Log and keep the result of an evaluation."""
        result = self.evaluators[stage].compute(self.data_classes.names, weights, pooling_activity)
        self.results[stage] = result
        if not math.isfinite(result.loss) and any(map(any, result.scores.confusion)):  # without a labeled pixel: no loss
            advice = f"try a higher trainer.precision (now {self.trainer.precision})"
            raise DivergenceError(self.trainer.global_step, f"the loss on {stage} is", advice)
        # Values of other views have names of their own.
        logged, scores = slug(", ".join(filter(None, [stage, result.view]))), result.scores
        self.log(f"{logged}/loss", torch.tensor(result.loss))
        self.log(f"{logged}/miou", scores.miou, prog_bar=True)
        for name in ("pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "boundary_miou"):
            self.log(f"{logged}/{name}", getattr(scores, name))
        self.log_dict({f"{logged}/iou/{name}": value for name, value in scores.iou.items() if value is not None})
