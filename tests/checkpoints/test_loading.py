"""Loading of checkpoints of networks that predict values."""

import pytest
import torch
from helpers.networks import images, tiny

from refinenet_pl.checkpoints.loading import load_for_prediction, peek_meaning
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CheckpointError
from refinenet_pl.tasks.regression import RegressionTask

KEYPOINTS = Values(("nose", "left", "right"), "heatmap", range=(0.0, 1.0), swapped=((1, 2),))
TASK = RegressionTask(
    tiny(classes=3), KEYPOINTS, {"l2": 1.0, "soft_argmax": 0.1}, "sigmoid", test_scales=(0.5, 1.0), tile=(80, 80)
).eval()


@pytest.fixture
def checkpoint() -> dict:
    """The content of a checkpoint like fit writes it."""
    content = {"state_dict": TASK.state_dict(), "hyper_parameters": dict(TASK.hparams)}
    TASK.on_save_checkpoint(content)
    return content


def test_round_trip(checkpoint, tmp_path):
    torch.save(checkpoint, tmp_path / "last.ckpt")
    task, values = load_for_prediction(tmp_path / "last.ckpt")
    assert type(task) is RegressionTask and values == KEYPOINTS == peek_meaning(tmp_path / "last.ckpt")
    assert dict(task.hparams) == dict(TASK.hparams) and task.test_inference == TASK.test_inference and not task.training
    image = images(1, 40, 50)
    with torch.inference_mode():
        assert torch.equal(task(image), TASK(image))
    assert load_for_prediction(tmp_path / "last.ckpt", compile=False)[0].hparams["compile"] is False


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c.pop("network"), "has no network, .*refinenet import"),
        (lambda c: c.pop("state_dict"), "has no state_dict"),
        (lambda c: c["hyper_parameters"].pop("values"), "has no data_classes"),
        (lambda c: c.pop("hyper_parameters"), "has no data_classes, hyper_parameters"),
        (lambda c: c.pop("task"), "predicts values, but its task SegmentationTask"),
        (lambda c: c.update(task="refinenet_pl.RefineNet"), "RefineNet'"),
        (lambda c: c.update(task="no.such.Task"), "no.such.Task.*cannot be imported"),
        (lambda c: c["hyper_parameters"].update(values={"names": ["a"]}), "its values cannot be read"),
        (lambda c: c["hyper_parameters"].update(values=[1]), "its values cannot be read"),
        (lambda c: c["hyper_parameters"].update(loss="huber"), "task cannot be built .*huber"),
        (lambda c: c["hyper_parameters"].update(unknown=1), "task cannot be built .*unknown"),
        (lambda c: c.update(network=None), "task cannot be built"),
        (lambda c: c["network"].update(class_path="no.such.Network"), "task cannot be built .*no.such.Network"),
        (lambda c: c["network"]["init_args"].update(classes=4), r"tensors do not fit .*segmentation_head"),
        (lambda c: c["state_dict"].update(extra=torch.full((1,), torch.nan)), "NaN"),
    ],
)
def test_wrong_contents_are_refused(checkpoint, tmp_path, change, message, capfd):
    change(checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=rf"(?s)^{tmp_path / 'last.ckpt'}: .*{message}"):
        load_for_prediction(tmp_path / "last.ckpt")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [None, b"", b"text", [1], {"state_dict": {}}])
def test_meaning_of_unusable_files_is_unknown(tmp_path, content):
    path = tmp_path / "last.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    assert peek_meaning(path) is None
