"""Segmentation task with networks of a few parameters: loss, optimizer, schedule, evaluation and checkpoints."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from helpers.memory import CLASSES, VOID, Memory, samples, trainer
from helpers.networks import Network, tiny
from lightning import Callback
from torch import nn
from torch.utils.data import DataLoader

from refinenet_pl.callbacks.preparation import PrepareForInference
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.errors import CheckpointError
from refinenet_pl.models.dense_network import as_dense_network
from refinenet_pl.tasks.losses.global_mean import GlobalMeanLoss
from refinenet_pl.tasks.optimizers import build_optimizer, build_schedule
from refinenet_pl.tasks.segmentation import SegmentationTask

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about workers and logging outside of a training


class Tiny(nn.Module):
    """Encoder with batch normalization, and a classifier; logits at the image's size."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.head(self.encoder(x))


def coarse() -> nn.Module:
    """A network with a score map at a quarter of the image's size."""
    return Network(3).float()


def fpn() -> nn.Module:
    return smp.FPN("resnet18", encoder_weights=None, classes=3)


def batch_of(*sizes: tuple[int, int]) -> dict:
    return next(iter(DataLoader(samples(*sizes), batch_size=len(sizes))))


def normalized(image: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (image / 255 - mean) / std


def step(task: SegmentationTask, batch: dict) -> torch.Tensor:
    """Loss of an optimizer step, which leaves its gradients."""
    task.train().zero_grad()
    task.training_step(batch, 0).backward()
    return task.global_loss.finish(task.network.parameters(), trainer())


def test_network_is_prepared_for_inference():
    task = SegmentationTask(Tiny(), 3, VOID)
    torch.nn.init.uniform_(task.network.encoder[1].running_var, 0.5, 2.0)
    scores = []
    for callbacks in [], [PrepareForInference()]:
        trainer(callbacks=callbacks).test(task, datamodule=Memory(), verbose=False)
        assert isinstance(task.network.encoder[1], nn.BatchNorm2d) is not bool(callbacks)
        scores.append(task.results["test"].scores.miou)
    assert scores[0] == pytest.approx(scores[1]) and scores[0] > 0


@pytest.mark.parametrize("class_weights", [None, [0.5, 2.0, 5.0]])
def test_loss_is_weighted_mean_over_labeled_pixels(class_weights):
    batch, network = batch_of((6, 7), (6, 7)), nn.Module()
    network.logits = nn.Parameter(torch.randn(2, 3, 6, 7))
    network.forward = lambda x: network.logits
    loss = step(SegmentationTask(network, 3, VOID, class_weights=class_weights), batch)
    labeled = batch["mask"] != VOID
    label = batch["mask"].where(labeled, 0)
    losses = -network.logits.detach().log_softmax(1).gather(1, label[:, None])[:, 0]
    weights = torch.tensor(class_weights or [1.0, 1.0, 1.0])[label] * labeled
    assert float(loss) == pytest.approx(float((losses * weights).sum() / weights.sum()), rel=1e-5)
    assert torch.equal((network.logits.grad != 0).any(1), labeled) and not labeled.all()


def test_loss_is_mean_over_processes_and_accumulated_batches():
    # The other process has a loss of 30 over 10 pixels; gradients are averaged over both, and over two batches.
    others = torch.tensor([30.0, 10.0], dtype=torch.float64)
    strategy = SimpleNamespace(reduce=lambda own, reduce_op: own + others)
    both = SimpleNamespace(strategy=strategy, world_size=2, accumulate_grad_batches=2)
    weight, loss = nn.Parameter(torch.tensor(6.0)), GlobalMeanLoss()
    for factor, pixels in (1.0, 2.0), (3.0, 4.0):
        (loss.add(weight * factor, torch.tensor(pixels)) / (2 * 2)).backward()
    assert float(loss.finish([weight], both)) == (6 + 18 + 30) / (2 + 4 + 10)
    assert float(weight.grad) == pytest.approx((1 + 3) / (2 + 4 + 10))


@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 3.0]])
@pytest.mark.parametrize(("network", "loss_at"), [(Tiny, "image"), (coarse, "score_map")])
def test_void_batch_has_zero_loss_and_gradient(network, loss_at, class_weights):
    batch = batch_of((8, 8), (8, 8))
    void = batch | {"mask": torch.full_like(batch["mask"], VOID)}
    task = SegmentationTask(network(), 3, VOID, loss_at=loss_at, class_weights=class_weights)
    assert float(step(task, void)) == float(task.training_step(void, 0)) == 0
    assert all(float(parameter.grad.abs().max()) == 0 for parameter in task.parameters())
    loss = float(step(task, batch))
    assert float(task.training_step(batch, 0)) == pytest.approx(loss, rel=1e-4) and loss > 0


def test_random_numbers_of_other_networks_are_seeded_by_batch():
    task = SegmentationTask(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Dropout(0.5), nn.Conv2d(8, 3, 1)), 3, VOID)
    batch = batch_of((8, 8), (8, 8)) | {"seeds": [3, 4]}
    assert float(step(task, batch)) == float(step(task, batch)) != float(step(task, batch | {"seeds": [3, 5]}))


def test_loss_at_score_map_samples_labels_at_cell_centers():
    batch, network = batch_of((12, 16), (12, 16)), coarse()
    loss = step(SegmentationTask(network, 3, VOID, loss_at="score_map"), batch)
    label = batch["mask"][:, 2::4, 2::4]  # the center of four pixels is between the second and the third
    assert label.shape == (2, 3, 4) and (label == VOID).any()
    expected = F.cross_entropy(network.score_map(normalized(batch["image"])), label, ignore_index=VOID)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert float(loss) != pytest.approx(float(step(SegmentationTask(network, 3, VOID), batch)), rel=1e-3)


def test_invalid_arguments():
    with pytest.raises(ValueError, match="2 class_weights for 3 classes"):
        SegmentationTask(Tiny(), 3, VOID, class_weights=[1.0, 2.0])
    with pytest.raises(ValueError, match="loss_at.* Tiny has no score map"):
        SegmentationTask(Tiny(), 3, VOID, loss_at="score_map")


def test_normalization_of_network():
    network = nn.Identity()
    network.normalization = ((0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    logits = SegmentationTask(network, 3, VOID)(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    assert logits[0, :, 0, 0].tolist() == pytest.approx([1.0, 3.0, 1.0])


@pytest.mark.parametrize("freeze", [True, False])
def test_batch_norm(freeze):
    task = SegmentationTask(Tiny(), 3, VOID, learning_rate=0.1, freeze_batch_norm=freeze)
    norm = task.network.encoder[1]
    assert not any(module.training for module in task.eval().modules())
    assert task.train() is task and task.training and task.network.head.training and norm.training is not freeze
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    trainer(max_epochs=2).fit(task, datamodule=Memory())  # with a validation between the epochs
    changed = {name for name, tensor in norm.state_dict().items() if not torch.equal(tensor, before[name])}
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    assert changed == {"weight", "bias"} | (set() if freeze else statistics)
    assert int(norm.num_batches_tracked) == (0 if freeze else 4)


optimizers = pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])


@optimizers
def test_optimizer_groups(name, kind):
    network = Tiny()
    optimizer = build_optimizer(name, network, network.encoder, 0.5, 0.1, 0.01)
    assert type(optimizer) is kind
    encoder, decoder = optimizer.param_groups
    assert (encoder["name"], encoder["lr"]) == ("encoder", pytest.approx(0.05))
    assert (decoder["name"], decoder["lr"]) == ("decoder", 0.5)
    assert {id(p) for p in encoder["params"]} == {id(p) for p in network.encoder.parameters()}
    assert sorted(id(p) for group in (encoder, decoder) for p in group["params"]) == sorted(map(id, network.parameters()))
    assert all(group["weight_decay"] == 0.01 for group in optimizer.param_groups)
    assert all(group["momentum"] == 0.9 for group in optimizer.param_groups if name == "sgd")
    for without in (network, network.encoder.requires_grad_(False)), (coarse(), None):
        (group,) = build_optimizer(name, *without, 0.5, 0.1, 0.0).param_groups
        assert (group["name"], group["lr"]) == ("decoder", 0.5) and all(p.requires_grad for p in group["params"])


def test_biases_and_normalization_without_decay():
    network = Tiny()
    groups = build_optimizer(torch.optim.RMSprop, network, network.encoder, 0.5, 0.1, 0.01, decay_all=False).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    for group in groups:
        vectors = group["name"].endswith("no decay")
        assert group["weight_decay"] == (0.0 if vectors else 0.01) and group["lr"] == (
            0.05 if "encoder" in group["name"] else 0.5
        )
        assert all((parameter.dim() <= 1) == vectors for parameter in group["params"])


@pytest.mark.parametrize("power", [0.0, 0.9, 2.0])
@pytest.mark.parametrize("warmup_steps", [0, 4])
def test_schedule(power, warmup_steps):
    network = Tiny()
    optimizer = build_optimizer("sgd", network, network.encoder, 0.5, 0.1, 0.0)
    schedule = build_schedule("poly", optimizer, 10, power, warmup_steps)
    for step in range(10):
        warmup = min(1.0, 0.01 + 0.99 * step / warmup_steps) if warmup_steps else 1.0
        expected = 0.5 * (1 - step / 10) ** power * warmup
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([expected / 10, expected])
        optimizer.step()
        schedule.step()


@optimizers
def test_task_configures_optimizer_and_schedule(name, kind):
    rates: list[dict[str, float]] = []

    class Rates(Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append({group["name"]: group["lr"] for group in trainer.optimizers[0].param_groups})

    arguments = {"learning_rate": 0.01, "learning_rate_scale": 3.0, "encoder_learning_rate_factor": 0.2, "power": 0.9}
    task = SegmentationTask(Tiny(), 3, VOID, optimizer=name, weight_decay=0.25, **arguments)
    fitted = trainer(max_epochs=2, limit_val_batches=0, callbacks=[Rates()])
    fitted.fit(task, datamodule=Memory())
    for step, seen in enumerate(rates):
        expected = 0.03 * (1 - step / 4) ** 0.9
        assert seen == pytest.approx({"encoder": 0.2 * expected, "decoder": expected})
    assert len(rates) == 4 and type(fitted.optimizers[0]) is kind
    assert {group["weight_decay"] for group in fitted.optimizers[0].param_groups} == {0.25}


def test_training_lowers_the_loss():
    task = SegmentationTask(Tiny(), 3, VOID, optimizer="adamw", learning_rate=0.05)
    fitted = trainer(max_epochs=15, limit_val_batches=0)
    before = float(step(task, batch_of(*[(8, 8)] * 4)))
    fitted.fit(task, datamodule=Memory())
    assert float(fitted.callback_metrics["train/loss"]) < before


@pytest.mark.parametrize("stage", ["val", "test"])
def test_evaluation_counts_every_pixel_once(stage):
    task, runner, data = SegmentationTask(Tiny(), 3, VOID), trainer(max_epochs=1), Memory()
    evaluate = runner.validate if stage == "val" else runner.test
    evaluate(task, datamodule=data, verbose=False)
    assert set(task.results) == {stage}
    runner.fit(task, datamodule=data)
    evaluate(task, datamodule=data, verbose=False)  # starts from zero, as the validation in training
    task.eval()
    expected, total = np.zeros((3, 3), int), 0.0
    for sample in Memory.evaluation:
        with torch.no_grad():
            logits = task.network(normalized(sample["image"])[None])
        labeled = sample["mask"] != VOID
        np.add.at(expected, (sample["mask"][labeled], logits[0].argmax(0)[labeled]), 1)
        total += float(F.cross_entropy(logits, sample["mask"][None], ignore_index=VOID, reduction="sum"))
    assert task.results[stage].scores.confusion == expected.tolist()
    intersection = np.diag(expected)
    iou = intersection / (expected.sum(0) + expected.sum(1) - intersection)
    logged = {name.removeprefix(f"{stage}/"): float(value) for name, value in runner.callback_metrics.items()}
    wanted = {"loss": total / expected.sum(), "miou": iou.mean(), "pixel_accuracy": intersection.sum() / expected.sum()}
    wanted |= {f"iou/{name}": value for name, value in zip(CLASSES.names, iou, strict=True)}
    assert {name: logged[name] for name in wanted} == pytest.approx(wanted, rel=1e-5)
    assert {np.sum(result.scores.confusion) for result in task.results.values()} == {expected.sum()}


def test_views_of_training_and_testing():
    task, runner = SegmentationTask(Tiny(), 3, VOID, test_scales=[0.5, 1.0], test_flip=True), trainer(max_epochs=1)
    runner.fit(task, datamodule=Memory())
    assert task.results["val"].inference == task.training_inference and not task.results["val"].view
    with task.viewing(task.training_inference):
        runner.validate(task, datamodule=Memory(), verbose=False)
    assert task.results["val"].inference == task.training_inference
    runner.validate(task, datamodule=Memory(), verbose=False)
    runner.test(task, datamodule=Memory(), verbose=False)
    assert {result.view for result in task.results.values()} == {"multi-scale, flip"}


def test_unlabeled_image_and_absent_classes():
    def validate(task: SegmentationTask, samples: list[dict]) -> dict:
        data, runner = Memory(), trainer()
        data.evaluation = samples
        runner.validate(task, datamodule=data, verbose=False)
        return {name: float(value) for name, value in runner.callback_metrics.items()}

    network = Tiny()
    task, void = SegmentationTask(network, 3, VOID), {**samples((6, 6))[0], "mask": torch.full((6, 6), VOID)}
    losses = [validate(task, images)["val/loss"] for images in (Memory.evaluation, [*Memory.evaluation, void])]
    assert losses[0] == losses[1] and math.isfinite(losses[0])
    nn.init.zeros_(network.head.weight)
    network.head.bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0]))
    logged = validate(task, [{**sample, "mask": torch.zeros_like(sample["mask"])} for sample in Memory.evaluation])
    assert {name for name in logged if "/iou/" in name} == {"val/iou/road"} and logged["val/miou"] == 1.0


@pytest.mark.parametrize("size", [(50, 70), (64, 33), (31, 96), (64, 96)])
def test_images_are_padded_to_sizes_that_smp_accepts(size):
    network, x = fpn().eval(), torch.randn(1, 3, *size)
    rows, columns = (torch.arange(-(-side // 32) * 32).clamp(max=side - 1) for side in size)  # repeats the last pixels
    with torch.no_grad():
        logits, padded = as_dense_network(network)(x), network(x[:, :, rows][:, :, :, columns])
        assert SegmentationTask(network, 3, VOID).eval()(torch.zeros(2, 3, *size, dtype=torch.uint8)).shape == (2, 3, *size)
    assert torch.equal(logits, padded[:, :, : size[0], : size[1]]) and logits.shape == (1, 3, *size)
    assert torch.equal(as_dense_network(nn.Identity())(x), x), "other networks get images without padding"


@pytest.mark.parametrize("network", [tiny, fpn])
def test_checkpoint_round_trip(network, tmp_path):
    data = Memory()
    data.train_dataloader = lambda: DataLoader(samples((64, 64), (64, 64)), batch_size=2)
    task = SegmentationTask(network(), 3, VOID, optimizer="adamw", learning_rate=0.02, class_weights=[1.0, 2.0, 3.0])
    fitted = trainer(max_steps=1, limit_val_batches=0)
    fitted.fit(task, datamodule=data)
    fitted.save_checkpoint(tmp_path / "last.ckpt")
    loaded, classes = load_for_prediction(tmp_path / "last.ckpt")
    assert classes == CLASSES and type(loaded.network) is type(task.network) and dict(loaded.hparams) == dict(task.hparams)
    assert not any(module.training for module in loaded.modules())
    x = torch.randint(256, (1, 3, 40, 50), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded(x), task.eval()(x))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        *[(share, "cannot be read as a checkpoint") for share in (0.0, 0.1, 0.5, 0.99)],
        *[(b, "cannot be read as a checkpoint") for b in (b"{}", b"\x89PNG\r\n\x1a\n", b"\x80\x02X\x01\0\0\0\xff.")],
        ({"state_dict": Tiny()}, "cannot be read as a checkpoint"),  # pickled code
        *[(value, "was not written by this package's fit") for value in ([1, 2], torch.ones(3), 5)],
        ({"state_dict": Tiny().state_dict()}, "has no data_classes, .*refinenet import"),
        (None, "no such file"),
        ("folder", "cannot be read as a RefineNet"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_unusable_checkpoints_are_refused(tmp_path, content, message):
    path = tmp_path / "last.ckpt"
    if isinstance(content, float):  # truncated
        torch.save({"state_dict": {"x": torch.ones(1000)}}, path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * content)])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=f"{path}: .*{message}"):
        load_for_prediction(path)


def test_plain_data_loaders():
    """Without a data module of this package, also for predictions."""
    loader = DataLoader([{"image": image, "mask": mask} for image, mask in zip(*data_of(8), strict=True)], 4)
    task = SegmentationTask(Tiny(), 3, VOID, learning_rate=0.01)
    fitted = trainer(max_epochs=1)
    fitted.fit(task, loader, loader)
    assert list(task.results["val"].scores.iou) == ["class 0", "class 1", "class 2"]
    predicted = torch.cat(fitted.predict(task, loader))
    assert predicted.shape == (8, 8, 8) and torch.equal(predicted[:4], task.eval().predict_mask(next(iter(loader))["image"]))


def data_of(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (number, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return image, torch.randint(3, (number, 8, 8), generator=generator)
