"""Options of what loggers show."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LogOptions:
    """Content of a run's loggers in addition to its scores. It has no effect on the training.

    Attributes:
        samples: Number of validation images that are predicted at each validation, evenly spread over the split; 0 for none.
        class_curves: Max number of classes with a curve of their IoU; of more classes, the rarest. 0 for none.
        ranked: Number of worst and of best images of each final evaluation; 0 for none.
        checkpoints: Upload best.ckpt and last.ckpt when the run is finished.
        dataset: Describe the dataset by the sizes and hashes of its labels, names and classes.

    Raises:
        ValueError: A number is negative.
    """

    samples: int = 4
    class_curves: int = 20
    ranked: int = 4
    checkpoints: bool = True
    dataset: bool = True

    def __post_init__(self) -> None:
        for name in ("samples", "class_curves", "ranked"):
            if getattr(self, name) < 0:
                raise ValueError(f"log.{name} is {getattr(self, name)}; it must be 0 or more")
