"""Metrics of the user, evaluated beside the built-in ones."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn
from torchmetrics import Metric

from refinenet_pl.evaluation.result import Measured
from refinenet_pl.metrics.score import Score


class UserMetrics(nn.Module):
    """Metrics of one evaluation by name.

    Args:
        metrics: Metrics whose `update` accepts predictions and targets, and whose `compute` returns one number. Each evaluation
            has a copy.
        reserved: Names that they must not have, of built-in scores.

    Raises:
        ValueError: A name is reserved, or not a plain word.
    """

    def __init__(self, metrics: Mapping[str, Metric], reserved: Collection[str]):
        super().__init__()
        for name in metrics:
            if name in reserved:
                raise ValueError(f"model.metrics has {name!r}, the name of a built-in score; use another name")
            if not name.isidentifier():
                raise ValueError(f"model.metrics has {name!r}; use letters, digits and underscores as names")
        self._metrics = nn.ModuleDict({f"{name}_": metric.clone() for name, metric in metrics.items()})

    @property
    def _by_name(self) -> dict[str, Metric]:
        # With an underscore, because a ModuleDict refuses the names of its own methods.
        return {name.removesuffix("_"): metric for name, metric in self._metrics.items() if isinstance(metric, Metric)}

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add images.

        Args:
            prediction: int64 (N, H, W) of class ids, or float (M,) of values.
            target: int64 (N, H, W) with `ignore_index`, or float (M,).
        """
        for metric in self._by_name.values():
            metric.update(prediction, target)

    def compute(self) -> dict[str, Measured]:
        """Compute the values over all processes.

        Raises:
            ValueError: A metric returns more than one number.
        """
        found = {}
        for name, metric in self._by_name.items():
            value = metric.compute()
            if not isinstance(value, Tensor) or value.numel() != 1:
                raise ValueError(
                    f"model.metrics.{name}: {type(metric).__name__} returns {_described(value)}, not one number; choose its "
                    "mean, such as average: macro, or write a subclass that does"
                )
            found[name] = Measured(value.item(), metric.higher_is_better is not False)
        return found

    def described(self) -> list[Score]:
        """Name and direction of each metric, as a score without a unit."""
        return [Score(name, name, "", metric.higher_is_better is not False) for name, metric in self._by_name.items()]

    def reset(self) -> None:
        """Reset all sums."""
        for metric in self._by_name.values():
            metric.reset()


def _described(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
