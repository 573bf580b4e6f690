"""Scores of evaluations: names, units and direction of improvement."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Score:
    """A score over a whole split.

    Attributes:
        name: Key in records and logs.
        label: Name for people.
        unit: `%` for a share, which is stored as 0..1 and shown in percent; otherwise the unit of the stored number, or empty.
        higher_is_better: True if a higher score is better.
        decimals: Number of decimals that are shown.
        margin: Difference, as shown, below which two scores count as equal, because a choice would not depend on it.
    """

    name: str
    label: str
    unit: str = "%"
    higher_is_better: bool = True
    decimals: int = 1
    margin: float = 1.0

    @property
    def factor(self) -> float:
        """Factor from the stored to the shown number."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def heading(self) -> str:
        """Label with the unit."""
        return f"{self.label} {self.unit}".rstrip()

    @property
    def difference_unit(self) -> str:
        """Unit of a difference of two scores; empty for none."""
        return "points" if self.unit == "%" else self.unit

    def format(self, shown: float, sign: str = "") -> str:
        """Format a number that is to be shown, with a minus sign instead of a hyphen; `sign` is `+` to mark positive ones."""
        return f"{shown:{sign}z.{self.decimals}f}".replace("-", "\N{MINUS SIGN}")

    def best(self, values: Iterable[float]) -> float:
        """Return the best of one or more values."""
        return max(values) if self.higher_is_better else min(values)


@dataclass(frozen=True)
class ScoreSet:
    """Base class of the scores of an evaluation.

    Attributes:
        SCORES: The scores over the whole split, each also an attribute. The first selects the best checkpoint and is the
            default of tables.
    """

    SCORES: ClassVar[tuple[Score, ...]]

    def known(self) -> dict[str, float]:
        """Scores that exist by name: neither None nor NaN."""
        values = {score.name: getattr(self, score.name) for score in self.SCORES}
        return {name: value for name, value in values.items() if value is not None and not math.isnan(value)}

    def to_dict(self) -> dict[str, Any]:
        """Return all scores as plain data for a record."""
        return asdict(self)
