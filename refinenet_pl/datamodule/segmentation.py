"""From a dataset on disk to batches."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lightning import LightningDataModule
from torch.utils.data import DataLoader

from refinenet_pl.datamodule.loader import TrainingLoader, collate, collate_evaluation, ignore_termination
from refinenet_pl.datamodule.samplers import EvaluationSampler, OverfitSampler, TrainingSampler, device_batch
from refinenet_pl.datamodule.transforms import AugmentedDataset, training_transform
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.registry import find_dataset, require_options


class SegmentationDataModule(LightningDataModule):
    """Batches of a dataset, for any number of processes.

    A batch is a dict of `image`, uint8 (N, 3, H, W), `mask`, int64 (N, H, W), and `name`, a list of str. Training batches
    are augmented crops, and have `seeds`, a list of int, from which each sample's dropout is drawn; evaluation batches are
    whole images at their own size, each seen exactly once.

    Args:
        dataset: Name of a dataset, or import path of a class.
        root: Folder of its files; None for one that needs none.
        dataset_options: Further arguments of the dataset's class.
        train_split: The split to train on.
        val_split: The split that is scored while training.
        test_split: The split that `test` scores. If it is the one that is scored while training, as for many published figures,
            `test` scores the network at the end of training, because the best one would be chosen on its own test images.
        global_batch: Training samples an optimizer step: devices x batch x accumulation. Each process takes its share at a
            time; one that is not a whole number is refused.
        crop_size: (height, width) of training crops.
        short_edge: Min and max short edge, in pixels, that training images are resized to before anything else; None
            to leave them as they are. (450, 1100) in the authors' code.
        scales: Factors that training images are resized by, one drawn for each.
        flip: Whether half of the training images are horizontally flipped.
        color_jitter: Strength of color changes; 0 for none.
        evaluation_batch: Images a batch and process in evaluation; more than 1 needs images of one size.
        num_workers: Processes that load data, for each training process.
        seed: Of order and augmentation.

    Raises:
        ValueError: An argument is outside its range.
    """

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
        scales: list[float] = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
        flip: bool = True,
        color_jitter: float = 0.0,
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
                raise ValueError(f"data.{option} is {value}; it can be {range_}")
        self.dataset_class = find_dataset(dataset)
        self.root = root
        self.classes = self.dataset_class.classes_of(root)
        self.dataset_options = dataset_options or {}
        require_options(dataset, self.dataset_options, "data.dataset_options")
        self.splits = {"train": train_split, "val": val_split, "test": test_split}
        self.global_batch = global_batch
        self.evaluation_batch = evaluation_batch
        self.num_workers = num_workers
        self.seed = seed
        self.training_loader: TrainingLoader | None = None
        self.resumed: dict[str, int] | None = None
        self.transform = training_transform(crop_size, scales, flip, color_jitter, self.classes.ignore_index, short_edge)

    def split(self, name: str) -> SegmentationDataset:
        """One split, without augmentation."""
        return self.dataset_class(root=self.root, split=name, **self.dataset_options)

    def setup(self, stage: str) -> None:
        # Opened here, so that bad data ends the run before anything is trained.
        if stage == "fit":
            self.training = AugmentedDataset(self.split(self.splits["train"]), self.transform, self.seed)
        if stage == "validate" or (stage == "fit" and self._validates()):
            self.validation = self.split(self.splits["val"])
        if stage == "test":
            self.testing = self.split(self.splits["test"])

    def train_dataloader(self) -> DataLoader:
        world_size, rank = self._process()
        accumulation = 1 if self.trainer is None else self.trainer.accumulate_grad_batches
        batch = device_batch(self.global_batch, world_size, accumulation)
        if self.trainer is not None and self.trainer.overfit_batches:
            sampler = OverfitSampler(self.training, self.global_batch, world_size, rank)
        else:
            sampler = TrainingSampler(self.training, self.global_batch, world_size, rank, self.seed)
        self.training_loader = self._loader(partial(TrainingLoader, collate_fn=collate), self.training, sampler, batch)
        if self.resumed is not None:
            self.training_loader.load_state_dict(self.resumed)
            self.resumed = None
        return self.training_loader

    # Lightning would hand the loader its state itself, but forgets to if the schedule has asked for the number of steps.
    def state_dict(self) -> dict[str, int]:
        if self.training_loader is None:
            return {}
        return self.training_loader.state_dict(None if self.trainer is None else self.trainer.num_training_batches)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.resumed = state or None

    def val_dataloader(self) -> DataLoader:
        return self._evaluation_loader(self.validation)

    def test_dataloader(self) -> DataLoader:
        return self._evaluation_loader(self.testing)

    def _evaluation_loader(self, dataset: SegmentationDataset) -> DataLoader:
        sampler = EvaluationSampler(dataset, self.evaluation_batch, *self._process())
        return self._loader(partial(DataLoader, collate_fn=collate_evaluation), dataset, sampler, self.evaluation_batch)

    def _loader(self, kind: Callable[..., DataLoader], dataset, sampler, batch_size: int) -> DataLoader:
        return kind(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=ignore_termination,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )

    def _validates(self) -> bool:
        return self.trainer is None or self.trainer.limit_val_batches != 0

    def _process(self) -> tuple[int, int]:
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
