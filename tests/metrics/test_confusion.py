"""The confusion matrix and its scores, against torchmetrics and against a reference that is too slow to be wrong."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassJaccardIndex

from refinenet_pl.metrics.confusion import ConfusionMatrix, scores

CLASSES, VOID = 5, 255
NAMES = ["sky", "road", "car", "tree", "pole"]


def data(number: int = 6, classes: int = CLASSES, void: int = VOID, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions that are right in about half of the pixels, and labels of which a tenth is void."""
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


def slow_count(prediction: torch.Tensor, label: torch.Tensor, classes: int = CLASSES, void: int = VOID) -> list[list[int]]:
    table = [[0] * classes for _ in range(classes)]
    for p, t in zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True):
        if t != void:
            table[t][p] += 1
    return table


def slow_scores(prediction: torch.Tensor, label: torch.Tensor) -> dict[str, float]:
    """From sets of pixels, without a confusion matrix."""
    pixels = [(p, t) for p, t in zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True) if t != VOID]
    iou, recall, weighted = [], [], 0.0
    for c in range(CLASSES):
        intersection = sum(p == c and t == c for p, t in pixels)
        union = sum(p == c or t == c for p, t in pixels)
        labelled = sum(t == c for _, t in pixels)
        if union:
            iou.append(intersection / union)
            weighted += labelled / len(pixels) * intersection / union
        if labelled:
            recall.append(intersection / labelled)
    return {
        "miou": sum(iou) / len(iou),
        "mean_accuracy": sum(recall) / len(recall),
        "pixel_accuracy": sum(p == t for p, t in pixels) / len(pixels),
        "frequency_weighted_iou": weighted,
    }


@pytest.mark.parametrize("void", [VOID, CLASSES, -1])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16])
def test_counts_are_those_of_a_loop_over_pixels(void, dtype):
    prediction, label = data(void=void)
    matrix = counted((prediction.to(dtype), label.to(dtype)), void=void)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == slow_count(prediction, label, void=void)


def test_rows_are_labels_and_columns_predictions():
    matrix = counted((torch.tensor([4]), torch.tensor([1])))
    assert matrix[1, 4] == 1 and matrix.sum() == 1


def test_counts_are_those_of_torchmetrics():
    prediction, label = data()
    theirs = MulticlassConfusionMatrix(CLASSES, ignore_index=VOID)(prediction, label)
    assert counted((prediction, label)).tolist() == theirs.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_torchmetrics_where_every_class_occurs(seed):
    prediction, label = data(seed=seed)
    ours = scores(counted((prediction, label)), NAMES)
    common = {"num_classes": CLASSES, "ignore_index": VOID}
    iou = MulticlassJaccardIndex(**common, average=None)(prediction, label)
    accuracy = MulticlassAccuracy(**common, average=None)(prediction, label)
    assert list(ours.iou) == NAMES and list(ours.iou.values()) == pytest.approx(iou.tolist(), abs=1e-6)
    assert list(ours.accuracy) == NAMES and list(ours.accuracy.values()) == pytest.approx(accuracy.tolist(), abs=1e-6)
    for name, theirs in {
        "miou": MulticlassJaccardIndex(**common, average="macro"),
        "frequency_weighted_iou": MulticlassJaccardIndex(**common, average="weighted"),
        "mean_accuracy": MulticlassAccuracy(**common, average="macro"),
        "pixel_accuracy": MulticlassAccuracy(**common, average="micro"),
    }.items():
        assert getattr(ours, name) == pytest.approx(float(theirs(prediction, label)), abs=1e-6), name


@pytest.mark.parametrize("present", [[0, 1, 2, 3, 4], [1, 3], [0], [0, 2, 4]])
def test_scores_are_those_of_a_loop_over_pixels(present):
    prediction, label = data(seed=7)
    label = torch.where(torch.isin(label, torch.tensor([*present, VOID])), label, VOID)
    ours = scores(counted((prediction, label)), NAMES)
    for name, value in slow_scores(prediction, label).items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-12), name


def test_scores_of_a_matrix_worked_out_by_hand():
    ours = scores(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert ours.iou == {"a": 3 / 6, "b": 4 / 7, "c": None}
    assert ours.accuracy == {"a": 3 / 4, "b": 4 / 6, "c": None}
    assert ours.absent_classes == ["c"]
    assert ours.miou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert ours.mean_accuracy == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert ours.pixel_accuracy == 7 / 10
    assert ours.frequency_weighted_iou == pytest.approx(0.4 * 3 / 6 + 0.6 * 4 / 7)
    assert ours.confusion == [[3, 1, 0], [2, 4, 0], [0, 0, 0]]


def test_class_that_is_predicted_but_never_labelled_counts_as_zero():
    ours = scores(np.array([[3, 0, 1], [0, 4, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert ours.absent_classes == ["c"]
    assert ours.iou == {"a": 3 / 4, "b": 1.0, "c": 0.0} and ours.accuracy["c"] is None
    assert ours.miou == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert ours.mean_accuracy == pytest.approx((3 / 4 + 1) / 2)


def test_class_that_is_labelled_but_never_predicted_counts_as_zero():
    ours = scores(np.array([[4, 0], [2, 0]]), ["a", "b"])
    assert ours.iou == {"a": 4 / 6, "b": 0.0} and ours.accuracy["b"] == 0.0 and ours.absent_classes == []


def test_void_pixels_count_nowhere_whatever_is_predicted_there():
    prediction, label = data()
    elsewhere = torch.where(label == VOID, (prediction + 1) % CLASSES, prediction)
    matrix = counted((prediction, label))
    assert np.array_equal(matrix, counted((elsewhere, label)))
    assert matrix.sum() == int((label != VOID).sum()) < label.numel()


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_order_and_split_into_batches_do_not_matter(size):
    prediction, label = data()
    order = torch.randperm(len(label), generator=torch.Generator().manual_seed(1))
    batches = zip(prediction[order].split(size), label[order].split(size), strict=True)
    assert np.array_equal(counted(*batches), counted((prediction, label)))


def test_large_counts_stay_exact():
    matrix = np.array([[2**53 + 1, 0], [0, 1]])
    assert scores(matrix, ["a", "b"]).confusion[0][0] == 2**53 + 1
    metric = ConfusionMatrix(2, VOID)
    metric.counts += 2**31
    metric.update(torch.tensor([0]), torch.tensor([0]))
    assert int(metric.compute()[0, 0]) == 2**31 + 1


@pytest.mark.parametrize("bad", [CLASSES, -1, 254])
@pytest.mark.parametrize("what", ["label", "prediction"])
def test_id_of_no_class_is_refused_and_nothing_is_counted(what, bad):
    ids = {"label": torch.zeros(4, dtype=torch.long), "prediction": torch.zeros(4, dtype=torch.long)}
    ids[what][2] = bad
    metric = ConfusionMatrix(CLASSES, VOID)
    with pytest.raises(ValueError, match=rf"{what} ids span .*{bad}.*, but there are 5 classes"):
        metric.update(ids["prediction"], ids["label"])
    assert int(metric.compute().sum()) == 0


def test_void_is_no_prediction():
    with pytest.raises(ValueError, match="prediction ids"):
        ConfusionMatrix(CLASSES, VOID).update(torch.tensor([VOID]), torch.tensor([0]))


@pytest.mark.parametrize("shape", [(2, 3), (6,), (3, 1)])
def test_shapes_that_differ_are_refused_with_both_named(shape):
    with pytest.raises(ValueError, match=r"prediction \(.*\) and label \(3, 2\) must be of one shape"):
        ConfusionMatrix(CLASSES, VOID).update(torch.zeros(shape, dtype=torch.long), torch.zeros(3, 2, dtype=torch.long))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("batches", [[], [(torch.zeros(4, dtype=torch.long), torch.full((4,), VOID))]], ids=["none", "void"])
def test_without_a_labelled_pixel_scores_are_nan(batches):
    ours = scores(counted(*batches), NAMES)
    for name in "miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou":
        assert math.isnan(getattr(ours, name))
    assert ours.absent_classes == NAMES and set(ours.iou.values()) == {None}


def test_scores_become_plain_data():
    ours = scores(counted(data()), NAMES).to_dict()
    assert {type(value) for value in ours["iou"].values()} == {float} and type(ours["miou"]) is float
    assert type(ours["confusion"][0][0]) is int


def test_reset_forgets():
    metric = ConfusionMatrix(CLASSES, VOID)
    metric.update(*data())
    metric.reset()
    metric.update(*data(seed=1))
    assert np.array_equal(metric.compute().numpy(), counted(data(seed=1)))


def test_deterministic_algorithms_change_nothing_and_take_no_memory_for_each_pixel_and_cell():
    prediction, label = data(number=10, classes=150)
    before = counted((prediction, label), classes=150)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        largest = 0

        class Watch(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                nonlocal largest
                out = func(*args, **(kwargs or {}))
                largest = max(largest, out.numel() if isinstance(out, torch.Tensor) else 0)
                return out

        with Watch():
            after = counted((prediction, label), classes=150)
    finally:
        torch.use_deterministic_algorithms(False)
    assert np.array_equal(before, after)
    assert largest <= 8 * max(label.numel(), 150**2)  # 8 for a tensor seen as bytes


def count_a_share(rank: int, folder: str) -> None:
    """One of two processes, with unequally many batches."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    prediction, label = data()
    metric = ConfusionMatrix(CLASSES, VOID)
    for index in [0, 2, 3, 4] if rank == 0 else [1, 5]:
        metric.update(prediction[index], label[index])
    np.save(f"{folder}/{rank}.npy", metric.compute().numpy())
    dist.destroy_process_group()


def test_two_processes_sum_to_the_matrix_of_one(tmp_path: Path):
    # A forked process need not import everything again.
    method = "fork" if sys.platform == "linux" else "spawn"
    mp.start_processes(count_a_share, (str(tmp_path),), nprocs=2, start_method=method)
    alone = counted(data())
    for rank in range(2):
        assert np.array_equal(np.load(tmp_path / f"{rank}.npy"), alone)
