"""Significance tests of differences."""

from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
POWER = 0.8
"""Probability with which `seeds_needed` finds an effect."""


@dataclass(frozen=True)
class Significance:
    """Confidence interval and p-value of a mean difference.

    Attributes:
        low: Lower bound of the 95% confidence interval, in the unit of the differences.
        high: Upper bound.
        p: p-value of a two-sided paired t-test.
        adjusted_p: p-value adjusted by Holm's method for all rows that are compared with the same reference.
    """

    low: float
    high: float
    p: float
    adjusted_p: float

    @property
    def is_shown(self) -> bool:
        """True if the difference is significant at a family-wise error rate of 5%."""
        return self.adjusted_p < 1 - CONFIDENCE


def compare(differences: Sequence[Sequence[float]]) -> list[Significance | None]:
    """Test the rows of a table against its reference.

    Args:
        differences: For each row, the differences to the reference, one per seed that both have.

    Returns:
        A test for each row; None if it has fewer than two differences.
    """
    from scipy.stats import ttest_1samp  # slow to import and only needed here

    tests = {}
    for row, values in enumerate(differences):
        if len(values) > 1:
            result = ttest_1samp(values, 0.0)
            interval = result.confidence_interval(CONFIDENCE)
            # The t-test of identical values 0 returns NaN.
            tests[row] = (float(interval.low), float(interval.high), float(result.pvalue) if any(values) else 1.0)
    adjusted = holm([p for *_, p in tests.values()])
    found = {row: Significance(*test, p) for (row, test), p in zip(tests.items(), adjusted, strict=True)}
    return [found.get(row) for row in range(len(differences))]


def seeds_needed(effect: float, deviation: float, tests: int, most: int = 1000) -> int | None:
    """Compute the number of seeds with which the t-test finds an effect with a probability of `POWER`.

    The significance level is 5% divided by the number of tests, the strictest one of Holm's method.

    Args:
        effect: True mean difference, greater than 0.
        deviation: Standard deviation of the difference over seeds, in the unit of `effect`.
        tests: Number of tests in the family.
        most: Largest number to consider.

    Returns:
        The smallest number of seeds, at least 2; None if `most` are too few.
    """
    from scipy.stats import nct, t  # slow to import and only needed here

    level = (1 - CONFIDENCE) / tests
    for seeds in range(2, most + 1):
        limit, shift = t.ppf(1 - level / 2, seeds - 1), effect / deviation * seeds**0.5 if deviation else float("inf")
        # The probability on the opposite side is negligible, and not accurate in SciPy.
        if shift == float("inf") or nct.sf(limit, seeds - 1, shift) >= POWER:
            return seeds
    return None


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values to control the family-wise error rate.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
