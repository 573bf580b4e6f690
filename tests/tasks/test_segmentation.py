"""Loss, optimiser, schedule, evaluation and checkpoints of the task, with networks of a few parameters."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from helpers.memory import CLASSES, VOID, Memory, samples, trainer
from lightning import Callback
from torch import nn
from torch.utils.data import DataLoader

from refinenet_pl.callbacks.preparation import PrepareForInference
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.errors import CheckpointError
from refinenet_pl.models.dense_network import as_dense_network
from refinenet_pl.models.ops.dropout import Dropout
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.tasks.losses.global_mean import GlobalMeanLoss
from refinenet_pl.tasks.optimizers import build_optimizer, build_schedule
from refinenet_pl.tasks.segmentation import SegmentationTask

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are trying to `self.log\\(\\)`"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training"),
    pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True to a scalar"),
]


class Tiny(nn.Module):
    """Encoder with batch normalisation, and a classifier; logits at the picture's size."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.head(self.encoder(x))


class Coarse(nn.Module):
    """A score map at a quarter of the picture's size, enlarged for the logits."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(3, 3, 4, stride=4)

    def score_map(self, x):
        return self.head(x)

    def forward(self, x):
        return F.interpolate(self.score_map(x), x.shape[-2:], mode="bilinear")


class Fixed(nn.Module):
    """Logits that are the parameters, whatever the picture."""

    def __init__(self, *shape: int):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return self.logits


def batch_of(*sizes: tuple[int, int]) -> dict:
    return next(iter(DataLoader(samples(*sizes), batch_size=len(sizes))))


class Rates(Callback):
    """Notes the learning rates that each step is made with."""

    def __init__(self):
        self.seen: list[dict[str, float]] = []

    def on_train_batch_start(self, trainer, *_):
        self.seen.append({group["name"]: group["lr"] for group in trainer.optimizers[0].param_groups})


def step(task: SegmentationTask, *batches: dict) -> torch.Tensor:
    """The loss of an optimiser step of these batches, accumulated; leaves its gradients."""
    fitter = trainer(accumulate_grad_batches=len(batches))
    task.train().zero_grad()
    for batch in batches:
        (task.training_step(batch, 0) / len(batches)).backward()  # divided as Lightning does
    return task.global_loss.finish(task.network.parameters(), fitter)


# Evaluation alone


def test_commands_that_do_not_train_make_the_network_faster():
    task = SegmentationTask(Tiny(), 3, VOID)
    torch.nn.init.uniform_(task.network.encoder[1].running_var, 0.5, 2.0)
    scores = []
    for callbacks in [], [PrepareForInference()]:
        trainer(callbacks=callbacks).test(task, datamodule=Memory(), verbose=False)
        assert isinstance(task.network.encoder[1], nn.BatchNorm2d) is not bool(callbacks)
        scores.append(task.results["test"].scores.miou)
    assert scores[0] == pytest.approx(scores[1]) and scores[0] > 0


# Loss


def test_loss_is_the_mean_over_labelled_pixels():
    batch = batch_of((6, 7), (6, 7))
    network = Fixed(2, 3, 6, 7)
    loss = step(SegmentationTask(network, 3, VOID), batch)
    log_probability = network.logits.detach().log_softmax(1)
    values = [
        -float(log_probability[n, label, y, x])
        for n, mask in enumerate(batch["mask"].tolist())
        for y, row in enumerate(mask)
        for x, label in enumerate(row)
        if label != VOID
    ]
    assert 0 < len(values) < 84
    assert float(loss) == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_void_pixels_have_no_gradient_and_all_others_have():
    batch = batch_of((6, 7), (6, 7))
    network = Fixed(2, 3, 6, 7)
    step(SegmentationTask(network, 3, VOID), batch)
    assert torch.equal((network.logits.grad != 0).any(1), batch["mask"] != VOID)


def test_step_of_several_batches_is_that_of_all_their_pixels():
    whole = batch_of(*[(8, 8)] * 4)
    whole["mask"][0] = VOID  # so that the mean of the batches' means is another number
    parts = [{key: value[part] for key, value in whole.items()} for part in (slice(0, 2), slice(2, 4))]
    task = SegmentationTask(Tiny(), 3, VOID, class_weights=[1.0, 2.0, 3.0])
    loss = step(task, whole)
    gradients = [parameter.grad.clone() for parameter in task.network.parameters()]
    assert float(step(task, *parts)) == pytest.approx(float(loss), rel=1e-6)
    for parameter, gradient in zip(task.network.parameters(), gradients, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-7)
    means = [float(step(task, part)) for part in parts]
    assert sum(means) / 2 != pytest.approx(float(loss), rel=1e-3)


def test_step_of_several_processes_is_divided_by_the_weight_of_all():
    # The other process has a loss of 30 over 10 pixels; gradients come averaged over both.
    others = torch.tensor([30.0, 10.0], dtype=torch.float64)
    strategy = SimpleNamespace(reduce=lambda own, reduce_op: own + others)
    both = SimpleNamespace(strategy=strategy, world_size=2, accumulate_grad_batches=1)
    weight, loss = nn.Parameter(torch.tensor(6.0)), GlobalMeanLoss()
    (loss.add(weight * 1.0, torch.tensor(2.0)) / 2).backward()
    assert float(loss.finish([weight], both)) == (6 + 30) / (2 + 10)
    assert float(weight.grad) == pytest.approx(1 / (2 + 10))


def test_a_batch_returns_its_mean_loss_and_nothing_without_a_labeled_pixel():
    task, batch = SegmentationTask(Tiny(), 3, VOID, freeze_batch_norm=False).train(), batch_of((8, 8), (8, 8))
    scores = task.network(task._normalize(batch["image"]))
    expected = F.cross_entropy(scores, batch["mask"], ignore_index=VOID)
    assert float(task.training_step(batch, 0)) == pytest.approx(float(expected), rel=1e-4)
    assert float(task.training_step(batch | {"mask": torch.full_like(batch["mask"], VOID)}, 0)) == 0


def test_random_numbers_of_any_network_belong_to_the_batch():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Dropout(0.5), nn.Conv2d(8, 3, 1))
    task = SegmentationTask(network, 3, VOID)
    batch = batch_of((8, 8), (8, 8)) | {"seeds": [3, 4]}
    first, again = float(step(task, batch)), float(step(task, batch))
    assert first == again != float(step(task, batch | {"seeds": [3, 5]}))


def test_a_sample_loses_the_same_features_in_any_batch():
    task = SegmentationTask(nn.Sequential(nn.Conv2d(3, 8, 1), Dropout(0.5), nn.Conv2d(8, 3, 1)), 3, VOID).train()
    batch = batch_of((8, 8), (8, 8))
    batch["mask"].clamp_(max=2)  # as many labeled pixels in each
    alone = [
        float(task.training_step({"image": image[None], "mask": mask[None], "seeds": [seed]}, 0))
        for image, mask, seed in zip(batch["image"], batch["mask"], (3, 4), strict=True)
    ]
    assert float(task.training_step(batch | {"seeds": [3, 4]}, 0)) == pytest.approx(sum(alone) / 2, rel=1e-5)
    assert float(task.training_step(batch | {"seeds": [3, 5]}, 0)) != pytest.approx(sum(alone) / 2, rel=1e-3)


@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 3.0]])
@pytest.mark.parametrize(("network", "loss_at"), [(Tiny, "image"), (Coarse, "score_map")])
def test_batch_of_void_alone_has_loss_zero_and_no_gradient(network, loss_at, class_weights):
    batch = batch_of((8, 8), (8, 8))
    batch["mask"].fill_(VOID)
    task = SegmentationTask(network(), 3, VOID, loss_at=loss_at, class_weights=class_weights)
    loss = step(task, batch)
    assert float(loss) == 0
    assert all(float(parameter.grad.abs().max()) == 0 for parameter in task.parameters())


def test_class_weights_weigh_pixels_in_sum_and_mean():
    batch = batch_of((6, 7), (6, 7))
    network = Fixed(2, 3, 6, 7)
    weights = torch.tensor([0.5, 2.0, 5.0])
    loss = step(SegmentationTask(network, 3, VOID, class_weights=weights.tolist()), batch)
    known = batch["mask"] != VOID
    label = batch["mask"][known]
    losses = F.cross_entropy(network.logits.movedim(1, -1)[known], label, reduction="none")
    assert float(loss) == pytest.approx(float((losses * weights[label]).sum() / weights[label].sum()), rel=1e-5)


def test_class_weights_must_be_as_many_as_the_classes():
    with pytest.raises(ValueError, match="2 class_weights for 3 classes"):
        SegmentationTask(Tiny(), 3, VOID, class_weights=[1.0, 2.0])


def test_loss_at_score_map_takes_the_label_in_the_middle_of_each_cell():
    batch = batch_of((12, 16), (12, 16))
    network = Coarse()
    task = SegmentationTask(network, 3, VOID, loss_at="score_map")
    loss = step(task, batch)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (batch["image"] / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    label = batch["mask"][:, 2::4, 2::4]  # of four pixels the middle lies between the second and the third
    assert label.shape == (2, 3, 4) and (label == VOID).any()
    assert float(loss) == pytest.approx(float(F.cross_entropy(network.score_map(x), label, ignore_index=VOID)), rel=1e-4)
    assert float(loss) != pytest.approx(float(step(SegmentationTask(network, 3, VOID), batch)), rel=1e-3)


def test_loss_at_score_map_is_refused_for_a_network_without_one():
    with pytest.raises(ValueError, match="loss_at is score_map, but Tiny has no score map; use loss_at: image"):
        SegmentationTask(Tiny(), 3, VOID, loss_at="score_map")


def test_network_says_how_pictures_are_normalised():
    class Echo(nn.Identity):
        normalization = ((0.5, 0.25, 0.0), (0.5, 0.25, 1.0))

    out = SegmentationTask(Echo(), 3, VOID)(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    assert out[0, :, 0, 0].tolist() == pytest.approx([1.0, 3.0, 1.0])


# Batch normalisation


@pytest.mark.parametrize("freeze", [True, False])
def test_batch_norm_moments_are_frozen_or_not_and_its_scale_and_shift_are_trained(freeze):
    task = SegmentationTask(Tiny(), 3, VOID, learning_rate=0.1, freeze_batch_norm=freeze)
    norm = task.network.encoder[1]
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    # Two epochs with validation between them, which puts the network into evaluation mode and back.
    trainer(max_epochs=2).fit(task, datamodule=Memory())
    moved = {name for name, tensor in norm.state_dict().items() if not torch.equal(tensor, before[name])}
    moments = {"running_mean", "running_var", "num_batches_tracked"}
    assert moved == {"weight", "bias"} | (set() if freeze else moments)
    assert int(norm.num_batches_tracked) == (0 if freeze else 4)


@pytest.mark.parametrize("freeze", [True, False])
def test_train_keeps_frozen_batch_norm_in_evaluation_mode(freeze):
    task = SegmentationTask(Tiny(), 3, VOID, freeze_batch_norm=freeze)
    assert task.train() is task
    assert task.network.encoder[1].training is not freeze
    assert task.training and task.network.head.training
    assert not any(module.training for module in task.eval().modules())


# Optimiser and schedule


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimiser_holds_every_parameter_once_the_encoders_at_a_tenth_of_the_rate(name, kind):
    network = Tiny()
    optimizer = build_optimizer(name, network, network.encoder, 0.5, 0.1, 0.01)
    assert type(optimizer) is kind
    encoder, decoder = optimizer.param_groups
    assert (encoder["name"], encoder["lr"]) == ("encoder", pytest.approx(0.05))
    assert (decoder["name"], decoder["lr"]) == ("decoder", 0.5)
    assert {id(p) for p in encoder["params"]} == {id(p) for p in network.encoder.parameters()}
    given = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert len(given) == len(set(given)) and set(given) == {id(p) for p in network.parameters()}
    assert all(group["weight_decay"] == 0.01 for group in optimizer.param_groups)
    assert all(group["momentum"] == 0.9 for group in optimizer.param_groups if name == "sgd")


def test_optimiser_of_a_network_without_encoder_has_one_group():
    (group,) = build_optimizer("sgd", Coarse(), None, 0.5, 0.1, 0.0).param_groups
    assert group["name"] == "decoder" and group["lr"] == 0.5


def test_frozen_parameters_are_not_given_to_the_optimiser():
    network = Tiny()
    network.encoder.requires_grad_(False)
    (group,) = build_optimizer("adamw", network, network.encoder, 0.5, 0.1, 0.0).param_groups
    assert group["name"] == "decoder" and len(group["params"]) == 2


def rates(steps: int, power: float, warmup_steps: int) -> list[list[float]]:
    """Of both groups at every step."""
    network = Tiny()
    optimizer = build_optimizer("sgd", network, network.encoder, 0.5, 0.1, 0.0)
    schedule = build_schedule(optimizer, steps, power, warmup_steps)
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize("power", [0.0, 0.9, 2.0])
@pytest.mark.parametrize("warmup_steps", [0, 4])
def test_rates_follow_the_poly_schedule_times_the_rise(power, warmup_steps):
    for step, (encoder, decoder) in enumerate(rates(10, power, warmup_steps)):
        rise = min(1.0, 0.01 + 0.99 * step / warmup_steps) if warmup_steps else 1.0
        expected = 0.5 * (1 - step / 10) ** power * rise
        assert decoder == pytest.approx(expected) and encoder == pytest.approx(expected / 10)


def test_power_zero_keeps_the_rate_constant():
    assert {decoder for _, decoder in rates(7, 0.0, 0)} == {0.5}


def test_training_steps_through_the_schedule_with_the_scaled_rate():
    rates = Rates()
    task = SegmentationTask(
        Tiny(), 3, VOID, learning_rate=0.01, learning_rate_scale=3.0, encoder_learning_rate_factor=0.2, power=0.9
    )
    trainer(max_epochs=2, limit_val_batches=0, callbacks=[rates]).fit(task, datamodule=Memory())
    expected = [0.03 * (1 - step / 4) ** 0.9 for step in range(4)]
    assert [seen["decoder"] for seen in rates.seen] == pytest.approx(expected)
    assert [seen["encoder"] for seen in rates.seen] == pytest.approx([0.2 * rate for rate in expected])


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimiser_and_weight_decay_are_the_tasks(name, kind):
    task = SegmentationTask(Tiny(), 3, VOID, optimizer=name, weight_decay=0.25)
    fitted = trainer(max_steps=1, limit_val_batches=0)
    fitted.fit(task, datamodule=Memory())
    assert type(fitted.optimizers[0]) is kind
    assert {group["weight_decay"] for group in fitted.optimizers[0].param_groups} == {0.25}


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    task = SegmentationTask(Tiny(), 3, VOID, optimizer="adamw", learning_rate=0.05)
    fitted = trainer(max_epochs=15, limit_val_batches=0)
    before = float(step(task, batch_of(*[(8, 8)] * 4)))
    fitted.fit(task, datamodule=Memory())
    assert float(fitted.callback_metrics["train/loss"]) < before


# Evaluation


@pytest.mark.parametrize("stage", ["val", "test"])
def test_evaluation_of_pictures_of_different_sizes_counts_every_pixel_once(stage):
    torch.manual_seed(0)
    task = SegmentationTask(Tiny(), 3, VOID)
    runner = trainer()
    for _ in range(2):  # a second evaluation starts from zero
        (runner.validate if stage == "val" else runner.test)(task, datamodule=Memory(), verbose=False)
    task.eval()
    expected, total, pixels = np.zeros((3, 3), int), 0.0, 0
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for sample in Memory.evaluation:
        x = (sample["image"] / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        with torch.no_grad():
            logits = task.network(x[None])[0]
        for y, row in enumerate(sample["mask"].tolist()):
            for x, label in enumerate(row):
                if label != VOID:
                    expected[label, int(logits[:, y, x].argmax())] += 1
                    total += float(F.cross_entropy(logits[:, y, x], torch.tensor(label)))
                    pixels += 1
    result = task.results[stage].scores
    assert result.confusion == expected.tolist()
    intersection = np.diag(expected)
    iou = intersection / (expected.sum(0) + expected.sum(1) - intersection)
    logged = {name: float(value) for name, value in runner.callback_metrics.items()}
    assert logged[f"{stage}/loss"] == pytest.approx(total / pixels, rel=1e-5)
    assert logged[f"{stage}/miou"] == pytest.approx(iou.mean(), rel=1e-6)
    assert logged[f"{stage}/pixel_accuracy"] == pytest.approx(intersection.sum() / pixels, rel=1e-6)
    assert [logged[f"{stage}/iou/{name}"] for name in CLASSES.names] == pytest.approx(iou.tolist(), rel=1e-6)
    assert set(task.results) == {stage}


def test_view_is_that_of_the_training_of_the_command_or_of_the_block():
    task, runner = SegmentationTask(Tiny(), 3, VOID, test_scales=[0.5, 1.0], test_flip=True), trainer(max_epochs=1)
    runner.fit(task, datamodule=Memory())
    assert task.results["val"].inference == task.training_inference and not task.results["val"].view
    with task.viewing(task.training_inference):
        runner.validate(task, datamodule=Memory(), verbose=False)
    assert task.results["val"].inference == task.training_inference
    runner.validate(task, datamodule=Memory(), verbose=False)
    runner.test(task, datamodule=Memory(), verbose=False)
    assert {result.view for result in task.results.values()} == {"multi-scale, flip"}


@pytest.mark.parametrize("command", ["validate", "test"])
def test_a_training_follows_an_evaluation(command):
    task, runner, data = SegmentationTask(Tiny(), 3, VOID), trainer(max_epochs=1), Memory()
    getattr(runner, command)(task, datamodule=data, verbose=False)
    runner.fit(task, datamodule=data)
    getattr(runner, command)(task, datamodule=data, verbose=False)
    labeled = sum(int((sample["mask"] != VOID).sum()) for sample in data.evaluation)
    assert {np.sum(result.scores.confusion) for result in task.results.values()} == {labeled}


def test_picture_without_labels_does_not_spoil_the_evaluation():
    class WithVoid(Memory):
        evaluation = [*Memory.evaluation, {**samples((6, 6))[0], "mask": torch.full((6, 6), VOID)}]

    task, losses = SegmentationTask(Tiny(), 3, VOID), []
    for data in Memory(), WithVoid():
        runner = trainer()
        runner.validate(task, datamodule=data, verbose=False)
        losses.append(float(runner.callback_metrics["val/loss"]))
    assert losses[0] == losses[1] and math.isfinite(losses[0])


def test_class_that_does_not_occur_is_not_logged():
    class Single(Memory):
        evaluation = [{**sample, "mask": torch.zeros_like(sample["mask"])} for sample in Memory.evaluation]

    network = Tiny()
    nn.init.zeros_(network.head.weight)
    network.head.bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0]))
    runner = trainer()
    runner.validate(SegmentationTask(network, 3, VOID), datamodule=Single(), verbose=False)
    assert {name for name in runner.callback_metrics if "/iou/" in name} == {"val/iou/road"}
    assert float(runner.callback_metrics["val/miou"]) == 1.0


# Pictures of any size


@pytest.fixture(scope="module")
def fpn() -> nn.Module:
    return smp.FPN("resnet18", encoder_weights=None, classes=3).eval()


@pytest.mark.parametrize("size", [(50, 70), (64, 33), (31, 96)])
def test_network_that_needs_divisible_sizes_runs_on_any(fpn, size):
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        with pytest.raises(RuntimeError):
            fpn(x)
        logits = as_dense_network(fpn)(x)
        # Padded at the right and below with the last pixels, so that the picture stays where it is.
        rows = torch.arange(-(-size[0] // 32) * 32).clamp(max=size[0] - 1)
        columns = torch.arange(-(-size[1] // 32) * 32).clamp(max=size[1] - 1)
        padded = fpn(x[:, :, rows][:, :, :, columns])
    assert logits.shape == (1, 3, *size)
    assert torch.equal(logits, padded[:, :, : size[0], : size[1]])


def test_divisible_picture_is_given_as_it_is(fpn):
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(as_dense_network(fpn)(x), fpn(x))


def test_network_of_any_size_gets_the_picture_without_padding():
    x = torch.randn(2, 3, 37, 51)
    network = nn.Identity()
    assert torch.equal(as_dense_network(network)(x), x)


def test_task_maps_uint8_pictures_to_logits_at_their_size(fpn):
    with torch.no_grad():
        assert SegmentationTask(fpn, 3, VOID).eval()(torch.zeros(2, 3, 45, 67, dtype=torch.uint8)).shape == (2, 3, 45, 67)


# Checkpoints


def refinenet() -> RefineNet:
    return RefineNet("resnet18", None, classes=3, width=8, deepest_width=8, pooling_blocks=1)


@pytest.mark.parametrize(
    "network", [refinenet, lambda: smp.FPN("resnet18", encoder_weights=None, classes=3)], ids=["RefineNet", "FPN"]
)
def test_task_comes_back_from_its_checkpoint_with_its_arguments_and_classes(network, tmp_path):
    task = SegmentationTask(network(), 3, VOID, optimizer="adamw", learning_rate=0.02, class_weights=[1.0, 2.0, 3.0])
    fitted = trainer(max_steps=1, limit_val_batches=0)
    x = torch.randint(256, (1, 3, 40, 50), dtype=torch.uint8)

    class Larger(Memory):
        def train_dataloader(self):
            return DataLoader(samples((64, 64), (64, 64)), batch_size=2)

    fitted.fit(task, datamodule=Larger())
    fitted.save_checkpoint(tmp_path / "last.ckpt")
    loaded, classes = load_for_prediction(tmp_path / "last.ckpt")
    assert classes == CLASSES
    assert type(loaded.network) is type(task.network)
    assert dict(loaded.hparams) == dict(task.hparams)
    assert not any(module.training for module in loaded.modules())
    with torch.no_grad():
        assert torch.equal(loaded(x), task.eval()(x))


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        load_for_prediction(path)
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_missing_checkpoint(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.ckpt")


def test_folder_without_a_model_is_no_checkpoint(tmp_path):
    assert "cannot be read as a RefineNet" in refusal(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_checkpoint(tmp_path, share):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"x": torch.ones(1000)}}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cannot be read as a checkpoint" in refusal(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "content", [b"hello world\n", b"{}", b"<html></html>", b"\x89PNG\r\n\x1a\n", b"\x80\x02X\x01\0\0\0\xff."]
)
def test_file_of_another_kind_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert "cannot be read as a checkpoint" in refusal(path)


@pytest.mark.parametrize("content", [[1, 2], torch.ones(3), 5])
def test_saved_object_that_is_no_dict_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "object.ckpt"
    torch.save(content, path)
    assert "this package's fit did not write it" in refusal(path)


def test_weights_alone_are_no_checkpoint_and_the_message_says_what_is_missing(tmp_path):
    path = tmp_path / "weights.ckpt"
    torch.save({"state_dict": Tiny().state_dict()}, path)
    message = refusal(path)
    assert "holds no data_classes, hyper_parameters, network, so" in message and "refinenet import" in message


def test_pickled_code_is_not_run(tmp_path):
    path = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": Tiny()}, path)
    assert "cannot be read as a checkpoint" in refusal(path)
