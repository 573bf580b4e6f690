"""Train and evaluate any network that maps pictures to class scores."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from lightning import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchmetrics import MeanMetric

from refinenet_pl.datamodule.samplers import derive_seed
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.deployment.preparation import prepare_for_inference
from refinenet_pl.errors import CheckpointError
from refinenet_pl.evaluation.inference import Inference, Protocol, score_map, void_last, whole_image_logits
from refinenet_pl.files import slug
from refinenet_pl.metrics.boundary import BoundaryCounts
from refinenet_pl.metrics.confusion import ConfusionMatrix, Scores, scores
from refinenet_pl.metrics.dead_relu import PoolingActivity
from refinenet_pl.models.ops.dropout import sample_seeds
from refinenet_pl.models.refinenet import VoidChannel
from refinenet_pl.state_dicts import describe_nonfinite, digest, nonfinite
from refinenet_pl.tasks.class_matching import NOT_RESUMED, MatchClasses, match_classes
from refinenet_pl.tasks.divergence import DivergenceError, DivergenceWatch
from refinenet_pl.tasks.losses.cross_entropy import cross_entropy, upsampled_cross_entropy
from refinenet_pl.tasks.losses.global_mean import GlobalMeanLoss
from refinenet_pl.tasks.optimizers import OptimizerName, build_optimizer, build_schedule

_POSITIVE = ("learning_rate", "learning_rate_scale")
_NOT_NEGATIVE = ("encoder_learning_rate_factor", "weight_decay", "power", "warmup_steps")


class SegmentationTask(LightningModule):
    """Semantic segmentation: loss, optimiser, schedule, and what is logged when.

    Args:
        network: Maps float (N, 3, H, W) to logits (N, classes, H, W). The parameters of its `encoder`, where it has one, learn
            at their own rate; its `normalization`, where it has one, is applied to the pictures, else ImageNet's.
        classes: Number of classes; given by the data set.
        ignore_index: Label of void pixels; given by the data set.
        optimizer: `sgd` with momentum 0.9, as the paper, or `adamw`.
        learning_rate: Of everything but the encoder.
        learning_rate_scale: Multiplies all rates; for tables that vary the rate around a recipe's own.
        encoder_learning_rate_factor: The encoder's rate as a share of the others'; 0.1 in the authors' code. With 0 the encoder
            is frozen, which saves most of a step's time on a CPU.
        weight_decay: Of all parameters, biases and normalisation too, as in the authors' code.
        power: Of the poly schedule: rate x (1 - step / steps) ** power. The authors lowered the rate by hand instead; 0 keeps
            it constant.
        warmup_steps: Steps over which the rate rises from a hundredth.
        freeze_batch_norm: Whether the encoder's batch normalisation keeps its moments in training, as in the authors' code; its
            scale and shift are trained all the same. A decoder's own, which RefineNet's has not, always learns its moments; in
            a network without an `encoder` all keep theirs.
        loss_at: `image`: the logits are enlarged to the labels' size, in strips of rows that bound the memory. `score_map`:
            the labels are shrunk to the logits' size, as in the authors' code; for a network with a `score_map` method.
        compile: Whether torch.compile makes the network. The first step then takes a minute or more; checkpoints are the same.
        class_weights: Weight of each class in the loss; None for equal weights, as in the paper.
        protocol: `standard`, or `paper` to score as the authors' code does, see `Inference`; classes that do not occur in the
            labels are then left out of the mean. The authors' factor of 1.2 is the network's `input_scale`, for training has it
            too.
        void_output: Whether the network has an output for void, where the authors' network for the data set has one. It is
            never trained to win; the others are trained against it. None: with `protocol: paper` only.
        test_scales: Scales of the `test` and `validate` commands, and of one more validation when training has ended.
            (0.4, 0.6, 0.8, 1.0, 1.2) in the authors' code. Validation while training has scale 1 alone.
        test_flip: Whether each of these scales is seen mirrored too.
        tile: (height, width) of tiles for evaluation pictures that do not fit, see `Inference`; None to take them whole.
        tile_overlap: Least share of a tile that the next one sees too.
        void_channel: Where the network has its void output; given by the data set and `void_output`.
        short_edge: Limits of the short edge under `paper`; given by the data set.
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
        class_weights: list[float] | None = None,
        protocol: Protocol = "standard",
        void_output: bool | None = None,
        test_scales: list[float] = (1.0,),
        test_flip: bool = False,
        tile: tuple[int, int] | None = None,
        tile_overlap: float = 0.25,
        void_channel: VoidChannel | None = None,
        short_edge: tuple[int, int] = (450, 800),
    ):
        super().__init__()
        self.save_hyperparameters(ignore=["network"])
        if loss_at == "score_map" and not hasattr(network, "score_map"):
            raise ValueError(f"loss_at is score_map, but {type(network).__name__} has no score map; use loss_at: image")
        if class_weights is not None and len(class_weights) != classes:
            raise ValueError(f"{len(class_weights)} class_weights for {classes} classes")
        if class_weights is not None and (min(class_weights) < 0 or not sum(class_weights)):
            raise ValueError(f"class_weights are {list(class_weights)}; they must be 0 or more, and not all 0")
        for name in _POSITIVE + _NOT_NEGATIVE:
            value = self.hparams[name]
            if not (0 < value < math.inf or (value == 0 and name in _NOT_NEGATIVE)):
                raise ValueError(f"{name} is {value}; it must be {'0 or more' if name in _NOT_NEGATIVE else 'greater than 0'}")
        if encoder_learning_rate_factor == 0 and hasattr(network, "encoder"):
            network.encoder.requires_grad_(False)
        self.network = network
        if compile:
            from refinenet_pl.tasks.compilation import compile_network  # seconds of import that few need

            compile_network(network)
        mean, std = getattr(network, "normalization", ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1), persistent=False)
        weights = None if class_weights is None else torch.tensor([*class_weights, *[1.0] * (void_channel is not None)])
        self.register_buffer("class_weights", weights, persistent=False)
        # Sums in float64, weighted by pixels: Lightning's own mean over processes is wrong where they see unequal numbers.
        self.losses = nn.ModuleDict({stage: MeanMetric().set_dtype(torch.float64) for stage in ("val", "test")})
        self.evaluations: dict[str, Scores] = {}
        self.evaluation_losses: dict[str, float] = {}
        # Of the last validation at scale 1, see `PoolingActivity`; empty where it was not counted.
        self.pooling_activity: list[float] = []
        self.global_loss = GlobalMeanLoss()
        self.divergence = DivergenceWatch()
        # Of the weights that the last validation scored: callbacks may change weights after it.
        self.validated_weights = ""
        # How a checkpoint's classes are matched with the dataset's, and the channel of each of these; None for their own order.
        self.match_classes: MatchClasses = "exact"
        self.class_channels: list[int] | None = None
        self.test_inference = Inference(
            protocol, tuple(test_scales), test_flip, tile and tuple(tile), tile_overlap, tuple(short_edge), void_channel
        )
        self.confusions = nn.ModuleDict(
            {stage: ConfusionMatrix(classes, ignore_index, self.test_inference.predicts_void) for stage in ("val", "test")}
        )
        self.boundaries = nn.ModuleDict({stage: BoundaryCounts(classes, ignore_index) for stage in ("val", "test")})
        self.activity = PoolingActivity(network)
        # How pictures are predicted now; commands that do not train set it to `test_inference`.
        self.inference = replace(self.test_inference, scales=(1.0,), flip=False)
        # Set by commands that do not train, so that the network may take a form that cannot be trained.
        self.evaluated_only = False
        self.data_classes: Classes | None = None
        # How to build the network again: smp's models remember their arguments; the command line tells those of all others.
        name = f"{type(network).__module__}.{type(network).__qualname__}"
        self.network_config = {"class_path": name, "init_args": dict(network.config)} if hasattr(network, "config") else None

    def setup(self, stage: str) -> None:
        self.data_classes = self.trainer.datamodule.classes

    def forward(self, image: Tensor) -> Tensor:
        """Class scores of whole pictures: uint8 (N, 3, H, W) -> logits, float (N, channels, H, W), void behind the classes."""
        return void_last(whole_image_logits(self.network, self._normalize(image)), self.hparams.void_channel)

    def log_probabilities(self, image: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """What evaluation and prediction go by, in strips of rows, see `Inference.log_probabilities`."""
        return self.inference.log_probabilities(self.network, image, self._normalize)

    def predict_mask(self, image: Tensor) -> Tensor:
        """Predict class ids of whole images, never void.

        Args:
            image: uint8 (N, 3, H, W).

        Returns:
            (N, H, W): uint8 up to 256 classes, int64 with more.

        Raises:
            FloatingPointError: Class scores are NaN, of which the largest would be that of class 0.
        """
        dtype = torch.uint8 if self.hparams.classes <= 256 else torch.int64
        mask = torch.empty(image.shape[0], *image.shape[-2:], dtype=dtype, device=image.device)
        unknown = torch.zeros((), dtype=torch.bool, device=image.device)
        for rows, part in self.log_probabilities(image):
            largest, mask[:, rows] = part[:, : self.hparams.classes].max(1)
            unknown |= largest.isnan().any()
        if unknown:
            raise FloatingPointError(
                "class scores are NaN; the network's values are too large for the precision it computes in"
            )
        return mask

    def training_step(self, batch: dict, batch_index: int) -> Tensor:
        """The part of the loss of one batch, scaled as in `GlobalMeanLoss`."""
        image, label = self._normalize(batch["image"]), batch["mask"].as_subclass(Tensor)
        seeds = batch.get("seeds")
        if seeds is not None:
            # For what draws random numbers in networks of others; RefineNet's own dropout goes by sample.
            torch.manual_seed(derive_seed(*seeds))
        with sample_seeds(seeds):
            scores = void_last(score_map(self.network, image), self.hparams.void_channel)
        if self.hparams.loss_at == "score_map":
            label = F.interpolate(label[:, None].float(), scores.shape[-2:], mode="nearest-exact")[:, 0].long()
        how = getattr(self.network, "upsampling", "bilinear")
        total, weight = upsampled_cross_entropy(scores, label, how, self.class_weights, self.hparams.ignore_index)
        return self.global_loss.add(total, weight)

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

    def on_validation_start(self) -> None:
        self._prepare()
        self._end_if_diverged()

    def on_test_start(self) -> None:
        self._prepare()

    def validation_step(self, batch: dict, batch_index: int) -> None:
        if batch_index == 0:
            self.validated_weights = digest(self.network.state_dict())
        with self.activity.counting() if self._counts_activity else nullcontext():
            self._evaluate("val", batch)

    def test_step(self, batch: dict, batch_index: int) -> None:
        self._evaluate("test", batch)

    def on_validation_epoch_end(self) -> None:
        self._reduce("val")
        if self._counts_activity:
            self.pooling_activity = self.activity.compute()
            self.activity.reset()
            self.log_dict({f"val/active/block_{place}": share for place, share in enumerate(self.pooling_activity, start=1)})

    def on_test_epoch_end(self) -> None:
        self._reduce("test")

    def configure_optimizers(self) -> dict:
        h = self.hparams
        rate = h.learning_rate * h.learning_rate_scale
        optimizer = build_optimizer(h.optimizer, self.network, rate, h.encoder_learning_rate_factor, h.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = build_schedule(optimizer, steps, h.power, h.warmup_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        self.train()

    def train(self, mode: bool = True) -> "SegmentationTask":
        """Switch to training, with the moments of the encoder's batch normalisation kept frozen where that is asked for."""
        super().train(mode)
        if self.hparams.freeze_batch_norm:
            for module in getattr(self.network, "encoder", self.network).modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

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
            self.class_channels = match_classes(own, self.data_classes, self.match_classes, place)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        self._end_if_diverged()
        checkpoint["network"] = self.network_config
        classes = self.data_classes
        if classes is not None:
            checkpoint["data_classes"] = classes.to_dict()

    @property
    def _counts_activity(self) -> bool:
        # A network that was compiled, or prepared for inference, no longer has the parts that are looked at; and validations of
        # several scales are one more of the same network.
        altered = self.hparams.compile or self.evaluated_only or self.inference.name
        return bool(self.activity.units) and not altered

    def _end_if_diverged(self, look_at_weights: bool = True) -> None:
        """End a training with values that are not finite, before they are scored or saved.

        Raises:
            DivergenceError: A loss, a gradient norm or a weight is NaN or infinite.
        """
        found = self.divergence.read()
        if found is None and look_at_weights and nonfinite(self.network.state_dict()):
            found = self.trainer.global_step, "the weights are"
        if found is not None:
            raise DivergenceError(*found, self._against_divergence())

    def _against_divergence(self) -> str:
        h, clipping = self.hparams, self.trainer.gradient_clip_val
        rate = h.learning_rate * h.learning_rate_scale
        clip = f"a smaller trainer.gradient_clip_val (now {clipping:g})" if clipping else "trainer.gradient_clip_val (5.0, say)"
        advice = f"try a lower model.learning_rate (now {rate:g}), {clip} or more model.warmup_steps (now {h.warmup_steps})"
        low = self.trainer.precision not in ("32-true", "64-true")
        return advice + (f", or a higher trainer.precision (now {self.trainer.precision})" if low else "")

    def _prepare(self) -> None:
        if self.evaluated_only:
            prepare_for_inference(self.network, self.hparams.compile)

    def _normalize(self, image: Tensor) -> Tensor:
        return (image.as_subclass(Tensor).to(self.mean.dtype) - self.mean) / self.std

    def _evaluate(self, stage: str, batch: dict) -> None:
        label = batch["mask"].as_subclass(Tensor)
        parts = []
        for rows, log_probabilities in self.log_probabilities(batch["image"]):
            if self.class_channels is not None:  # void, if it can be predicted, stays the last
                void = range(len(self.class_channels), log_probabilities.shape[1])
                log_probabilities = log_probabilities[:, [*self.class_channels, *void]]
            total, weight = cross_entropy(log_probabilities, label[:, rows], self.class_weights, self.hparams.ignore_index)
            if weight > 0:
                self.losses[stage].update(total.double() / weight, weight)
            parts.append(log_probabilities.argmax(1))
        prediction = torch.cat(parts, 1)
        self.confusions[stage].update(prediction, label)
        self.boundaries[stage].update(prediction, label)

    def _reduce(self, stage: str) -> None:
        names = self.data_classes.names
        confusion = self.confusions[stage].compute().cpu().numpy()
        boundary = self.boundaries[stage].compute().cpu().numpy()
        result = scores(confusion, list(names), self.hparams.protocol == "paper", boundary)
        self.evaluations[stage] = result
        loss = self.losses[stage].compute()
        if not loss.isfinite() and any(map(any, result.confusion)):  # without a labeled pixel there is no loss
            advice = f"try a higher trainer.precision (now {self.trainer.precision})"
            raise DivergenceError(self.trainer.global_step, f"the loss on {stage} is", advice)
        self.evaluation_losses[stage] = loss.item()
        # Values of several scales are others than those that were logged while training.
        logged = slug(", ".join(filter(None, [stage, self.inference.name])))
        self.log(f"{logged}/loss", loss.float())
        self.log(f"{logged}/miou", result.miou, prog_bar=True)
        for name in ("pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "boundary_miou"):
            self.log(f"{logged}/{name}", getattr(result, name))
        self.log_dict({f"{logged}/iou/{name}": value for name, value in result.iou.items() if value is not None})
        self.confusions[stage].reset()
        self.boundaries[stage].reset()
        self.losses[stage].reset()
