"""Training samples chosen by the classes in their labels, for classes that few images or pixels have."""

from collections import Counter

import numpy as np
import torch

from refinenet_pl.datamodule.class_crop import ANY_CLASS
from refinenet_pl.datamodule.samplers import TrainingSampler, numbered_visits
from refinenet_pl.datamodule.transforms import AugmentedDataset, SampleKey
from refinenet_pl.datasets.base import SegmentationDataset
from refinenet_pl.datasets.class_counts import class_counts
from refinenet_pl.errors import DataError


class ClassBalancedSampler(TrainingSampler):
    """Crops centered on a class of the image, and images that give each class its share: `class_sample` of the authors' code.

    Each crop is centered on a random pixel of a class, sampled uniformly from those of the scaled image, see `ClassCrop`.

    The images of an epoch are those of as many of the authors' epochs as are needed for the number of samples of `uniform`, so
    that schedules stay comparable. For each of these, the images are shuffled, those that this epoch has not used yet first,
    and an image is chosen if one of its classes is in fewer than `images_per_class` of those chosen before. If this gives
    fewer than `min_images`, others follow; of more than `max_images`, a random part is used. In a dataset of `min_images` or
    fewer, each image occurs once per epoch, in the order of `uniform`, and no labels are read beforehand.

    Args:
        dataset, global_batch, num_replicas, rank, seed: See `TrainingSampler`.
        min_images: `epoch_task_num_min` of the authors' code.
        max_images: `epoch_task_num_max` of the authors' code.
        images_per_class: `epoch_run_max_task_one_class` of the authors' code.

    Raises:
        DataError: The dataset has no classes or is smaller than one batch, or a mask cannot be read.
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        dataset: AugmentedDataset,
        global_batch: int,
        num_replicas: int,
        rank: int,
        seed: int,
        min_images: int = 1000,
        max_images: int = 2000,
        images_per_class: int = 100,
    ):
        if not 1 <= min_images <= max_images or images_per_class < 1:
            raise ValueError(
                f"data.sampler: min_images {min_images}, max_images {max_images} and images_per_class {images_per_class} must "
                "be 1 or more, and min_images at most max_images"
            )
        super().__init__(dataset, global_batch, num_replicas, rank, seed)
        labeled = require_classes(dataset)
        self.min_images = min_images
        self.max_images = max_images
        self.images_per_class = images_per_class
        self.classes: list[frozenset[int]] | None = None  # of each image
        if self.size > min_images:
            self.classes = [frozenset(counts.nonzero()[0].tolist()) for counts in class_counts(labeled)]

    def keys(self, generator: torch.Generator) -> list[SampleKey]:
        """Choose the samples of an epoch, see `TrainingSampler.keys`."""
        if self.classes is None:
            return [key._replace(crop_class=ANY_CLASS) for key in super().keys(generator)]
        chosen: list[int] = []
        used = np.zeros(self.size, bool)
        while len(chosen) < self.total_size:
            some = self._choose(self.classes, used, generator)
            chosen += some
            used[some] = True
            if used.all():
                used[:] = False
        return numbered_visits(self.epoch, chosen, [ANY_CLASS] * len(chosen))

    def _choose(self, classes: list[frozenset[int]], used: np.ndarray, generator: torch.Generator) -> list[int]:
        """Indices of the images of one of the authors' epochs."""
        shuffled = torch.randperm(self.size, generator=generator).numpy()
        walk = np.concatenate([shuffled[~used[shuffled]], shuffled[used[shuffled]]]).tolist()
        images: Counter[int] = Counter()  # accepted ones, by class
        complete: set[int] = set()
        accepted, others = [], []
        for index in walk:
            if classes[index] <= complete:
                others.append(index)
                continue
            accepted.append(index)
            images.update(classes[index])
            complete |= {label for label in classes[index] if images[label] >= self.images_per_class}
        accepted += others[: max(0, self.min_images - len(accepted))]
        order = torch.randperm(len(accepted), generator=generator).tolist()
        return [accepted[place] for place in order[: self.max_images]]


class RareClassSampler(TrainingSampler):
    """Images and crops of a class that is sampled with a higher probability the fewer pixels it has.

    Rare class sampling of Hoyer et al., "DAFormer: Improving Network Architectures and Training Strategies for
    Domain-Adaptive Semantic Segmentation", CVPR 2022, section 3.3: the class c is sampled with the probability
    P(c) ∝ exp((1 - f_c) / T), f_c being its share of the labeled pixels of the split, and an image uniformly from those with
    this class. The crop is centered on a random pixel of the class, see `ClassCrop`; DAFormer repeats random crops until one
    has enough pixels of it, and leaves out images with fewer than 3,000. Images are sampled with replacement, as many per epoch
    as with `uniform`, so that schedules stay comparable.

    Args:
        dataset, global_batch, num_replicas, rank, seed: See `TrainingSampler`.
        temperature: T, greater than 0; a higher one samples the classes more uniformly. 0.01 in the paper.

    Raises:
        DataError: The dataset has no classes, no labeled pixel or less than one batch, or a mask cannot be read.
        ValueError: The temperature is outside its range.
    """

    def __init__(
        self,
        dataset: AugmentedDataset,
        global_batch: int,
        num_replicas: int,
        rank: int,
        seed: int,
        temperature: float = 0.01,
    ):
        if not temperature > 0:
            raise ValueError(f"data.sampler: temperature is {temperature}; it must be greater than 0")
        super().__init__(dataset, global_batch, num_replicas, rank, seed)
        counts = class_counts(require_classes(dataset))
        if not counts.any():
            raise DataError("data.sampler: the training split has no labeled pixel, so no class can be sampled; use uniform")
        self.probabilities = class_probabilities(counts.sum(0), temperature)
        self.images = [column.nonzero()[0] for column in counts.T]

    def keys(self, generator: torch.Generator) -> list[SampleKey]:
        """Choose the samples of an epoch, see `TrainingSampler.keys`."""
        classes = torch.multinomial(self.probabilities, self.total_size, replacement=True, generator=generator).tolist()
        candidates = [self.images[label] for label in classes]
        samples = [int(images[int(torch.randint(len(images), (), generator=generator))]) for images in candidates]
        return numbered_visits(self.epoch, samples, classes)


def class_probabilities(pixels: np.ndarray, temperature: float) -> torch.Tensor:
    """Compute the probabilities of `RareClassSampler`.

    Args:
        pixels: Number of pixels of each class, int64 (classes,), not all 0.
        temperature: See `RareClassSampler`.

    Returns:
        float64 (classes,); 0 for classes without pixels.
    """
    shares = torch.from_numpy(pixels / pixels.sum())
    return torch.softmax(torch.where(shares > 0, (1 - shares) / temperature, -torch.inf), 0)


def require_classes(dataset: AugmentedDataset) -> SegmentationDataset:
    """Return the dataset without augmentation.

    Raises:
        DataError: It has no classes.
    """
    if not isinstance(dataset.dataset, SegmentationDataset):
        raise DataError(
            f"data.sampler: {type(dataset.dataset).__name__} has no class per pixel, by which this sampler chooses; use uniform"
        )
    return dataset.dataset
