"""Result of an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.evaluation.value_inference import ValueInference
from refinenet_pl.metrics.score import ScoreSet

AnyScores = TypeVar("AnyScores", bound=ScoreSet)


class Measured(NamedTuple):
    """Value of a metric over a split.

    Attributes:
        value: The value.
        higher_is_better: True if a higher value is better.
    """

    value: float
    higher_is_better: bool


@dataclass(frozen=True)
class EvaluationResult(Generic[AnyScores]):
    """Scores of a split.

    Attributes:
        scores: Scores from the sums over all images on all processes.
        loss: Mean over all labeled pixels, or over all values that count; NaN if there is none.
        inference: Views of the images.
        weights: Digest of the network's weights; empty if unknown.
        pooling_activity: See `PoolingActivity.compute`; empty if it was not counted.
        metrics: Values of the user's metrics by name.
        images: Name and primary score of each image, sorted by name; without images in which nothing counts.
    """

    scores: AnyScores
    loss: float
    inference: Inference | ValueInference
    weights: str = ""
    pooling_activity: Sequence[float] = ()
    metrics: Mapping[str, Measured] = field(default_factory=dict)
    images: Sequence[tuple[str, float]] = ()

    @property
    def view(self) -> str:
        """Name of the views; empty for one view at scale 1."""
        return self.inference.name

    def to_dict(self) -> dict[str, Any]:
        """Return the entries of this result in a record."""
        metrics = {name: measured._asdict() for name, measured in self.metrics.items()}
        more = {"metrics": metrics} if metrics else {}
        return {"inference": asdict(self.inference), "loss": self.loss, **self.scores.to_dict(), **more}
