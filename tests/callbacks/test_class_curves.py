"""Classes with curves in the loggers."""

import numpy as np
import pytest

from refinenet_pl.callbacks.class_curves import rarest
from refinenet_pl.metrics.confusion import scores


@pytest.mark.parametrize(("number", "chosen"), [(0, []), (2, ["b", "d"]), (9, ["a", "b", "d"])])
def test_rarest_classes_with_labels(number, chosen):
    counts = np.diag([5, 2, 0, 3])
    counts[0, 2] = 1  # `c` is only predicted
    assert rarest(scores(counts, list("abcd")), number) == chosen
