"""Result of an evaluation."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from refinenet_pl.evaluation.inference import Inference
from refinenet_pl.evaluation.value_inference import ValueInference
from refinenet_pl.metrics.score import ScoreSet

AnyScores = TypeVar("AnyScores", bound=ScoreSet)


@dataclass(frozen=True)
class EvaluationResult(Generic[AnyScores]):
    """Scores of a split.

    Attributes:
        scores: Scores from the sums over all images on all processes.
        loss: Mean over all labeled pixels, or over all values that count; NaN if there is none.
        inference: Views of the images.
        weights: Digest of the network's weights; empty if unknown.
        pooling_activity: See `PoolingActivity.compute`; empty if it was not counted.
    """

    scores: AnyScores
    loss: float
    inference: Inference | ValueInference
    weights: str = ""
    pooling_activity: Sequence[float] = ()

    @property
    def view(self) -> str:
        """Name of the views; empty for one view at scale 1."""
        return self.inference.name

    def to_dict(self) -> dict[str, Any]:
        """Return the entries of this result in a record."""
        return {"inference": asdict(self.inference), "loss": self.loss, **self.scores.to_dict()}
