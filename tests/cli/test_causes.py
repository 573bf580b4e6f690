"""Errors that an option causes: one line that names the option, without a traceback."""

import importlib.util
import subprocess
import sys

import pytest
import segmentation_models_pytorch as smp
import torch
from helpers.layouts import folder as layout
from helpers.running import refusal
from torch import nn

from refinenet_pl.cli.causes import explain

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_repository")]

CALLBACKS = "--trainer.callbacks+=lightning.pytorch.callbacks."


@pytest.mark.parametrize(
    ("function", "option"),
    [
        (lambda: nn.BatchNorm2d(3).train()(torch.zeros(1, 3, 1, 1)), "data.global_batch"),
        (lambda: torch.empty(2**50), "data.crop_size"),
        (lambda: smp.FPN("resnet18", encoder_weights=None).eval()(torch.zeros(1, 3, 33, 33)), "data.crop_size"),
        (lambda: nn.Conv2d(3, 3, 9)(torch.zeros(1, 3, 4, 4)), "data.crop_size"),
        (lambda: torch.zeros(1, device="cuda"), "trainer.accelerator"),
    ],
    ids=["one value to normalize", "memory", "indivisible size", "large kernel", "no GPU"],
)
def test_explanation_has_torchs_message_and_the_option(function, option):
    if option == "trainer.accelerator" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(Exception) as raised:  # noqa: B017, torch raises errors of several types
        function()
    message = explain(raised.value)
    assert option in message and "\n" not in message
    assert message.split(";")[0].split(":")[-1].strip()[:20] in str(raised.value)


@pytest.mark.parametrize("error", [KeyError("val"), TypeError("unpack"), RuntimeError("mat1 and mat2 shapes differ")])
def test_other_errors_are_not_explained(error):
    assert explain(error) is None


INVALID = {
    "--trainer.devices=3": "2 cannot be divided among 3 processes", "--trainer.devices=[5]": "`devices`",
    "--model.learning_rate=-1": "learning_rate is -1", "--model.tile=[0,10]": "tile",
    "--data.crop_size=[0,32]": "data.crop_size", "--data.short_edge=[100,50]": "data.short_edge",
    "--model.class_weights=[0,0,0,0,0,0,0,0,0,0,0]": "class_weights", "--model.class_weights=[1,2]": "2 class_weights for 11",
    "--model.network.init_args.encoder_name=resnet1010": "unknown encoder 'resnet1010'; did you mean resnet101",
    "--model.network.init_args.encoder_name=convnext_tiny": "did you mean tu-convnext_tiny",
    "--model.network=torch.nn.Identity": "model.network has no parameters",
    '--data.dataset_options={"nonsense":1}': "data.dataset_options: scenes: got an unexpected keyword argument",
    '--data.dataset_options={"size":"big"}': "size: 'big' is not an integer",
    "--trainer.val_check_interval=100": "`val_check_interval` (100)", "--trainer.max_time=soon": "is not a valid duration",
    f"{CALLBACKS}EarlyStopping --trainer.callbacks.monitor=val/x": "monitor",
    f"{CALLBACKS}ModelCheckpoint --trainer.callbacks.monitor=val/miou --trainer.callbacks.mode=max": "already has this Model",
    "--run.root=$NOWHERE/runs": "NOWHERE", "--data.dataset=folder --data.root=nowhere": "nowhere/classes.yaml: no such file",
    "--seed_everything=true": "seed_everything is True", "-c nothing": "no recipe 'nothing'",
    "--run.table=nothing.yaml --run.cell=x": "no table 'nothing.yaml'", "--run.table=cascade --run.cell=x": "no cell x",
    "--run.table=cascade": "requires --run.cell; use one of cascade_1, ",
    "--task=nothing.Task": "'nothing.Task'", "--task=torch.nn.Linear": "'torch.nn.Linear'", "--task=plain": "'plain'",
    "--model.network=segmentation_models_pytorch.DeepLabV3Plus --model.network.init_args.encoder_name=resnet18 "
    "--model.network.init_args.encoder_weights=null --data.global_batch=1 --model.freeze_batch_norm=false": "one value",
}  # fmt: skip
NAMED = [
    "data.evaluation_batch=0", "data.global_batch=0", "data.num_workers=-1", "data.scales=[]", "data.scales=[0]",
    "data.color_jitter=-1", "seed_everything=-1", "run.cell=../elsewhere", "run.cell=",
    "trainer.accumulate_grad_batches=0", "trainer.gradient_clip_val=-1", "trainer.limit_train_batches=0",
]  # fmt: skip


@pytest.mark.parametrize("options", [*INVALID, *(f"--{option}" for option in NAMED)])
def test_invalid_option_is_named_in_one_line(tmp_path, capsys, options):
    printed = refusal(capsys, "fit", f"--run.root={tmp_path}", *options.split())
    name = options.partition("=")[0].removeprefix("--")
    assert INVALID.get(options, name) in printed and printed.strip().count("\n") == 0
    assert not list(tmp_path.rglob("results.json"))


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("--model.nonsense=1", "nonsense"),
        ("--model.network.init_args.poolingblocks=2", "poolingblocks"),
        ("--model.network.init_args.pooling_order=sideways", "sideways"),
        ("--data.dataset=nowhere", "'nowhere'"),
    ],
)
def test_parser_names_invalid_option(capsys, option, word):
    assert word in refusal(capsys, "fit", option)


@pytest.fixture
def folder(tmp_path) -> list[str]:
    """Options of a dataset in files below `tmp_path`."""
    layout.build(tmp_path / "data")
    return ["--data.dataset=folder", f"--data.root={tmp_path / 'data'}", "--data.dataset_options={}", f"--run.root={tmp_path}"]


def test_batch_of_different_sizes_is_refused(folder, capsys):
    message = refusal(capsys, "fit", *folder, "--data.evaluation_batch=2")
    assert "d is 80x60 and e is 90x75" in message and "set data.evaluation_batch to 1" in message


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_image_is_named_by_any_process(folder, tmp_path, capsys, workers):
    damaged = tmp_path / "data/images/train/a.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    message = refusal(capsys, "fit", *folder, f"--data.num_workers={workers}")
    assert message.startswith(f"error: {damaged}: ") and message.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("package", "options"),
    [
        ("rich", [f"{CALLBACKS}RichProgressBar"]),
        ("tensorboard", ["--trainer.logger=lightning.pytorch.loggers.TensorBoardLogger", "--trainer.logger.save_dir=x"]),
    ],
)
def test_missing_package_is_named(tmp_path, capsys, package, options):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    message = refusal(capsys, "fit", f"--run.root={tmp_path}", *options)
    assert package in message and "nstall" in message and message.strip().count("\n") == 0


def test_closed_pipe_is_no_error():
    command = f"{sys.executable} -m refinenet_pl data list | head -1; exit ${{PIPESTATUS[0]}}"
    listing = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in listing.stderr and listing.returncode in (0, 141)
