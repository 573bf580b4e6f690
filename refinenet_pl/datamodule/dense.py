"""Base class of the data modules: batches of a dataset for any number of processes."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from lightning import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from refinenet_pl.datamodule.albumentations import Albumentations
from refinenet_pl.datamodule.color import refuse_color_jitter
from refinenet_pl.datamodule.loader import TrainingLoader, collate, collate_evaluation, ignore_termination
from refinenet_pl.datamodule.samplers import EvaluationSampler, OverfitSampler, TrainingSampler, device_batch
from refinenet_pl.datamodule.sampling import SamplerFactory, SamplerName, build_sampler
from refinenet_pl.datamodule.transforms import AugmentedDataset, CheckSample
from refinenet_pl.datasets.base import DenseDataset
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.registry import require_options
from refinenet_pl.datasets.values import Values


class DenseDataModule(LightningDataModule):
    """Batches of a dataset with a label or values per pixel.

    Training batches are augmented crops, and have `seeds`, a list of int, from which each sample's dropout is sampled.
    Evaluation batches are whole images at their own size; each image occurs exactly once.

    Args:
        dataset: Name of a dataset, or import path of a class.
        root: Folder of its files; None for a dataset without files.
        dataset_options: Further arguments of the dataset's class.
        train_split: Split to train on.
        val_split: Split to validate on during training.
        test_split: Split that `test` scores. If it is also `val_split`, as for many published scores, `test` scores the last
            checkpoint, because the best one would be selected on its own test images.
        global_batch: Training samples per optimizer step: devices x batch x accumulation. It must be divisible by the number of
            processes and accumulated batches.
        crop_size: (height, width) of training crops.
        short_edge: Min and max short edge, in pixels, that training images are first resized to; None to keep their size.
            (450, 1100) in the authors' code.
        scales: Factors that training images are resized by, one sampled for each image.
        flip: Flip half of the training images horizontally.
        color_jitter: Strength of color changes; 0 for none. For images with three channels.
        transforms: Further transforms of training samples after these, in order: of torchvision.transforms.v2, or modules that
            map a dict with tv_tensors to one. Their random numbers are sampled from (seed, epoch, index), also those of
            `random` and NumPy. Images must keep their type and channels, and have the crop's size.
        sampler: Training samples of an epoch, the same number with each: `uniform`, each image once; `class_balanced`, see
            `ClassBalancedSampler`; `rare_class`, see `RareClassSampler`; or the class path of a subclass of `TrainingSampler`
            with its further arguments. Without effect on `trainer.overfit_batches`.
        evaluation_batch: Images per batch and process in evaluation; more than 1 requires images of one size.
        num_workers: Data loading processes of each training process.
        seed: Seed of order and augmentation.

    Attributes:
        image_format: Format of the images; None for 8-bit RGB.
        opened: Opened splits by name, without augmentation.

    Raises:
        ValueError: An argument is outside its range.
    """

    validation: DenseDataset
    testing: DenseDataset

    def __init__(
        self,
        dataset: str = "scenes",
        root: str | None = None,
        dataset_options: dict[str, Any] | None = None,
        train_split: str = "train",
        val_split: str = "val",
        test_split: str = "test",
        global_batch: int = 8,
        crop_size: tuple[int, int] = (400, 400),
        short_edge: tuple[int, int] | None = None,
        scales: Sequence[float] = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
        flip: bool = True,
        color_jitter: float = 0.0,
        transforms: list[nn.Module] | None = None,
        sampler: SamplerName | SamplerFactory = "uniform",
        evaluation_batch: int = 1,
        num_workers: int = 2,
        seed: int = 0,
    ):
        super().__init__()
        edges = short_edge or (1, 1)
        for option, value, is_right, range_ in (
            ("global_batch", global_batch, global_batch >= 1, "1 or more"),
            ("evaluation_batch", evaluation_batch, evaluation_batch >= 1, "1 or more"),
            ("num_workers", num_workers, num_workers >= 0, "0 or more"),
            ("crop_size", crop_size, min(crop_size) >= 1, "height and width of 1 or more"),
            ("scales", scales, scales and min(scales) > 0, "one or more factors greater than 0"),
            ("color_jitter", color_jitter, color_jitter >= 0, "0 or more"),
            ("short_edge", short_edge, 1 <= edges[0] <= edges[1], "min and max, in this order, of 1 or more"),
        ):
            if not is_right:
                raise ValueError(f"data.{option} is {value}; it must be {range_}")
        self.dataset_class = self.open_dataset(dataset, root)
        self.image_format = self.dataset_class.image_format_of(root)
        refuse_color_jitter(color_jitter, self.image_format)
        if sampler in ("class_balanced", "rare_class") and not isinstance(self.meaning, Classes):
            raise ValueError(f"data.sampler is {sampler}, but {dataset} has no class per pixel; it must be uniform")
        self.sampler = sampler
        self.root = root
        self.dataset_options = dataset_options or {}
        require_options(self.dataset_class, self.dataset_options, f"data.dataset_options: {dataset}")
        self.splits = {"train": train_split, "val": val_split, "test": test_split}
        self.global_batch = global_batch
        self.evaluation_batch = evaluation_batch
        self.num_workers = num_workers
        self.seed = seed
        self.opened: dict[str, DenseDataset] = {}
        self.training_loader: TrainingLoader | None = None
        self.resumed: dict[str, int] | None = None
        for transform in transforms or []:
            if isinstance(transform, Albumentations) and transform.ignore_index is None and isinstance(self.meaning, Classes):
                transform.ignore_index = self.meaning.ignore_index
        built_in = self.training_transform(crop_size, scales, flip, color_jitter, short_edge)
        checked = [*transforms, CheckSample(crop_size, self.image_format)] if transforms else []
        self.transform = v2.Compose([built_in, *checked]) if checked else built_in

    @abstractmethod
    def open_dataset(self, name: str, root: str | None) -> type[DenseDataset]:
        """Find the class of a dataset and read the meaning of its labels or values.

        Args:
            name: Name of the dataset, or import path of its class.
            root: Folder of its files; None for a dataset without files.

        Raises:
            ValueError: There is no such dataset.
        """

    @abstractmethod
    def training_transform(
        self,
        crop_size: tuple[int, int],
        scales: Sequence[float],
        flip: bool,
        color_jitter: float,
        short_edge: tuple[int, int] | None,
    ) -> v2.Transform:
        """Build the augmentation, see `refinenet_pl.datamodule.transforms.training_transform`."""

    @property
    @abstractmethod
    def meaning(self) -> Classes | Values:
        """Meaning of the labels or values."""

    def split(self, name: str) -> DenseDataset:
        """Open a split, without augmentation."""
        self.opened[name] = self.dataset_class(root=self.root, split=name, **self.dataset_options)
        return self.opened[name]

    def setup(self, stage: str) -> None:
        """Open the splits of a stage, so that invalid data ends the run before training."""
        if stage == "fit":
            self.training = AugmentedDataset(self.split(self.splits["train"]), self.transform, self.seed)
        if stage == "validate" or (stage == "fit" and self._validates()):
            self.validation = self.split(self.splits["val"])
        if stage == "test":
            self.testing = self.split(self.splits["test"])

    def train_dataloader(self) -> TrainingLoader:
        """Loader of augmented batches, at the restored position if the run resumes."""
        world_size, rank = self._process()
        accumulation = 1 if self.trainer is None else self.trainer.accumulate_grad_batches
        batch = device_batch(self.global_batch, world_size, accumulation)
        sampler: TrainingSampler | OverfitSampler
        # Lightning sets the attribute outside the class.
        if self.trainer is not None and self.trainer.overfit_batches:  # type: ignore[attr-defined]
            sampler = OverfitSampler(self.training, self.global_batch, world_size, rank)
        else:
            sampler = build_sampler(self.sampler, self.training, self.global_batch, world_size, rank, self.seed)
        loader = TrainingLoader(self.training, batch, sampler=sampler, collate_fn=collate, **self._loader_arguments())
        if self.resumed is not None:
            loader.load_state_dict(self.resumed)
            self.resumed = None
        self.training_loader = loader
        return loader

    def state_dict(self) -> dict[str, int]:
        """Return the training loader's position.

        Lightning does not restore that of the loader itself if the schedule has requested the number of steps.
        """
        if self.training_loader is None:
            return {}
        return self.training_loader.state_dict(None if self.trainer is None else self.trainer.num_training_batches)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Keep the position for the next `train_dataloader`."""
        self.resumed = state or None

    def val_dataloader(self) -> DataLoader:
        """Loader of the validation split."""
        return self._evaluation_loader(self.validation)

    def test_dataloader(self) -> DataLoader:
        """Loader of the test split."""
        return self._evaluation_loader(self.testing)

    def _evaluation_loader(self, dataset: DenseDataset) -> DataLoader:
        batch, arguments = self.evaluation_batch, self._loader_arguments()
        sampler = EvaluationSampler(dataset, batch, *self._process())
        return DataLoader(dataset, batch, sampler=sampler, collate_fn=collate_evaluation, **arguments)

    def _loader_arguments(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "worker_init_fn": ignore_termination,
            "pin_memory": self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        }

    def _validates(self) -> bool:
        return self.trainer is None or self.trainer.limit_val_batches != 0

    def _process(self) -> tuple[int, int]:
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
