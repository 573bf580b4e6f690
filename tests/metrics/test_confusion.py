"""Confusion matrix and scores against torchmetrics, a loop over pixels, and known answers."""

import math
import sys

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers.networks import Largest
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassJaccardIndex

from refinenet_pl.metrics.confusion import ConfusionMatrix, scores

CLASSES, VOID = 5, 255
NAMES = ["sky", "road", "car", "tree", "pole"]
MEANS = ("miou", "frequency_weighted_iou", "mean_accuracy", "pixel_accuracy")


def data(number: int = 6, classes: int = CLASSES, void: int = VOID, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions of which about half are correct, and labels of which a tenth is void."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (number, 12, 9), generator=generator)
    chance = torch.rand(label.shape, generator=generator)
    prediction = torch.where(chance < 0.5, label, torch.randint(classes, label.shape, generator=generator))
    return prediction, torch.where(chance > 0.9, void, label)


def counted(*batches: tuple[torch.Tensor, torch.Tensor], classes: int = CLASSES, void: int = VOID) -> np.ndarray:
    metric = ConfusionMatrix(classes, void)
    for prediction, label in batches:
        metric.update(prediction, label)
    return metric.compute().numpy()


@pytest.mark.parametrize("void", [VOID, CLASSES, -1])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16])
def test_counts_equal_a_loop_over_pixels(void, dtype):
    prediction, label = data(void=void)
    matrix, expected = counted((prediction.to(dtype), label.to(dtype)), void=void), np.zeros((CLASSES, CLASSES), int)
    for p, t in zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True):
        if t != void:
            expected[t, p] += 1
    assert matrix.dtype == np.int64 and np.array_equal(matrix, expected)


@pytest.mark.parametrize("seed", range(3))
def test_equals_torchmetrics_if_every_class_occurs(seed):
    prediction, label = data(seed=seed)
    matrix, common = counted((prediction, label)), {"num_classes": CLASSES, "ignore_index": VOID}
    assert matrix.tolist() == MulticlassConfusionMatrix(**common)(prediction, label).tolist()
    ours = scores(matrix, NAMES)
    for metric, per_class, means in (
        (MulticlassJaccardIndex, ours.iou, {"macro": ours.miou, "weighted": ours.frequency_weighted_iou}),
        (MulticlassAccuracy, ours.accuracy, {"macro": ours.mean_accuracy, "micro": ours.pixel_accuracy}),
    ):
        assert list(per_class) == NAMES
        for average, found in (means | {None: list(per_class.values())}).items():
            theirs = metric(**common, average=average)(prediction, label).tolist()
            assert found == pytest.approx(theirs, abs=1e-6), (metric, average)


def test_scores_of_a_class_that_never_occurs():
    ours = scores(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert ours.iou == {"a": 3 / 6, "b": 4 / 7, "c": None}
    assert ours.accuracy == {"a": 3 / 4, "b": 4 / 6, "c": None}
    assert ours.absent_classes == ["c"] and ours.confusion == [[3, 1, 0], [2, 4, 0], [0, 0, 0]]
    assert ours.miou == pytest.approx((3 / 6 + 4 / 7) / 2) and ours.mean_accuracy == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert ours.pixel_accuracy == 7 / 10 and ours.frequency_weighted_iou == pytest.approx(0.4 * 3 / 6 + 0.6 * 4 / 7)
    assert type(ours.confusion[0][0]) is int and type(ours.iou["a"]) is type(ours.miou) is float, "plain data"


def test_class_that_is_only_predicted_or_only_labeled_counts_as_zero():
    ours = scores(np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert ours.iou == {"a": 3 / 4, "b": 1.0, "c": 0.0} and ours.accuracy["c"] is None and ours.absent_classes == ["c"]
    assert ours.miou == pytest.approx((3 / 4 + 1 + 0) / 3) and ours.mean_accuracy == pytest.approx((3 / 4 + 1) / 2)
    ours = scores(np.array([[4, 0], [2, 0]]), ["a", "b"])
    assert ours.iou == {"a": 4 / 6, "b": 0.0} and ours.accuracy["b"] == 0.0 and ours.absent_classes == []


def test_scores_of_the_paper():
    # The third class is not labeled; the last column is void.
    ours = scores(np.array([[6, 1, 1, 2], [0, 4, 0, 0], [0, 0, 0, 0]]), ["a", "b", "c"], labeled_only=True)
    assert ours.iou == {"a": 6 / 10, "b": 4 / 5, "c": None} and ours.miou == pytest.approx((0.6 + 0.8) / 2)
    assert ours.pixel_accuracy == pytest.approx(10 / 14) and ours.mean_accuracy == pytest.approx((0.6 + 1) / 2)


def test_large_counts_are_exact_until_reset():
    assert scores(np.array([[2**53 + 1, 0], [0, 1]]), ["a", "b"]).confusion[0][0] == 2**53 + 1
    metric = ConfusionMatrix(2, VOID)
    metric.counts += 2**31
    metric.update(torch.tensor([0]), torch.tensor([0]))
    assert int(metric.compute()[0, 0]) == 2**31 + 1
    metric.reset()
    assert not metric.compute().any()


@pytest.mark.parametrize(
    ("kind", "bad"), [(kind, bad) for kind in ("label", "prediction") for bad in (CLASSES, -1, 254)] + [("prediction", VOID)]
)
def test_refuses_ids_out_of_range(kind, bad):
    metric, ids = ConfusionMatrix(CLASSES, VOID), {"label": torch.zeros(4).long(), "prediction": torch.zeros(4).long()}
    ids[kind][2] = bad
    with pytest.raises(ValueError, match=f"{kind} ids .*{bad}"):
        metric.update(**ids)
    assert not metric.counts.any()


@pytest.mark.parametrize("shape", [(2, 3), (6,), (3, 1)])
def test_refuses_different_shapes(shape):
    with pytest.raises(ValueError, match=r"prediction \(.*\) and label \(3, 2\)"):
        ConfusionMatrix(CLASSES, VOID).update(torch.zeros(shape).long(), torch.zeros(3, 2).long())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("batches", [[], [(torch.zeros(4).long(), torch.full((4,), VOID))]], ids=["none", "void"])
def test_scores_are_nan_without_labeled_pixels(batches):
    ours = scores(counted(*batches), NAMES)
    assert all(math.isnan(getattr(ours, name)) for name in MEANS)
    assert ours.absent_classes == NAMES and set(ours.iou.values()) == {None}


def test_deterministic_algorithms_need_no_more_memory():
    prediction, label = data(number=10, classes=150)
    before = counted((prediction, label), classes=150)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with Largest() as largest:
            after = counted((prediction, label), classes=150)
    finally:
        torch.use_deterministic_algorithms(False)
    assert np.array_equal(before, after)
    assert largest.bytes <= 8 * max(label.numel(), 150**2)


def count_a_share(rank: int, folder: str) -> None:
    """One of two processes, with different numbers of batches."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    prediction, label = data()
    metric = ConfusionMatrix(CLASSES, VOID)
    for index in [0, 2, 3, 4] if rank == 0 else [1, 5]:
        metric.update(prediction[index], label[index])
    np.save(f"{folder}/{rank}.npy", metric.compute().numpy())
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    # A forked process does not import everything again.
    method = "fork" if sys.platform == "linux" else "spawn"
    mp.start_processes(count_a_share, (str(tmp_path),), nprocs=2, start_method=method)
    for rank in range(2):
        assert np.array_equal(np.load(tmp_path / f"{rank}.npy"), counted(data()))
