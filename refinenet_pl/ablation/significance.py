"""Tests of differences against noise."""

from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Significance:
    """A difference's interval and its probability under chance alone.

    Attributes:
        low: Lower end of the 95 % confidence interval of the mean difference, in the unit of the differences.
        high: Its upper end.
        p: Probability of a mean at least this far from 0 if there were no difference, of a two-sided paired t-test.
        adjusted_p: The same by Holm's method, for all the rows that are compared with one reference.
    """

    low: float
    high: float
    p: float
    adjusted_p: float

    @property
    def is_shown(self) -> bool:
        """True if it is more than noise at the 5 % level, kept for all rows of the table together."""
        return self.adjusted_p < 1 - CONFIDENCE


def compare(differences: Sequence[Sequence[float]]) -> list[Significance | None]:
    """Test the rows of a table against its reference.

    Args:
        differences: For each row the differences to the reference, one for each seed that both have.

    Returns:
        For each row its test; None if it has fewer than two differences.
    """
    from scipy.stats import ttest_1samp  # takes a second that commands without a table need not wait for

    tests = {}
    for row, values in enumerate(differences):
        if len(values) > 1:
            result = ttest_1samp(values, 0.0)
            interval = result.confidence_interval(CONFIDENCE)
            # Equal networks give no differences at all, for which the test has no answer.
            tests[row] = (float(interval.low), float(interval.high), float(result.pvalue) if any(values) else 1.0)
    adjusted = holm([p for *_, p in tests.values()])
    found = {row: Significance(*test, p) for (row, test), p in zip(tests.items(), adjusted, strict=True)}
    return [found.get(row) for row in range(len(differences))]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust several p-values so that the chance of any false positive among them stays at the level.

    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
