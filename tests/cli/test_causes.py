"""Errors that an option causes end in one sentence that names it, never in a traceback."""

import importlib.util
import subprocess
import sys

import pytest
import segmentation_models_pytorch as smp
import torch
from helpers.repository import REPOSITORY
from helpers.running import refusal
from PIL import Image
from torch import nn

from refinenet_pl.cli.causes import explain

SMP = "--model.network.init_args.encoder_name=resnet18"


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def error_of(act) -> Exception:
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("act", "option"),
    [
        (lambda: nn.BatchNorm2d(3).train()(torch.zeros(1, 3, 1, 1)), "data.global_batch"),
        (lambda: torch.empty(2**50), "data.crop_size"),
        (lambda: smp.FPN("resnet18", encoder_weights=None).eval()(torch.zeros(1, 3, 33, 33)), "data.crop_size"),
        (lambda: nn.Conv2d(3, 3, 9)(torch.zeros(1, 3, 4, 4)), "data.crop_size"),
        (lambda: torch.zeros(1, device="cuda"), "trainer.accelerator"),
    ],
    ids=["one value to normalize", "memory", "size not divisible", "kernel too large", "no GPU"],
)
def test_the_option_is_named_with_torchs_own_words(act, option):
    if option == "trainer.accelerator" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    error = error_of(act)
    said = explain(error)
    assert option in said and "\n" not in said
    assert said.split(";")[0].split(":")[-1].strip()[:20] in str(error)


def test_an_error_of_the_program_itself_keeps_its_traceback():
    for error in KeyError("val"), TypeError("unpack"), RuntimeError("mat1 and mat2 shapes cannot be multiplied"):
        assert explain(error) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model.network=segmentation_models_pytorch.DeepLabV3Plus", SMP, "--model.network.init_args.encoder_weights=null",
             "--data.global_batch=1", "--model.freeze_batch_norm=false"],
            "more than one value; train with more images per process and batch (data.global_batch",
        ),
        (["--trainer.devices=3"], "a global batch of 2 cannot be shared by 3 processes"),
        (["--data.evaluation_batch=0"], "data.evaluation_batch"),
        (["--data.global_batch=0"], "data.global_batch"),
        (["--data.num_workers=-1"], "data.num_workers"),
        (["--data.crop_size=[0, 32]"], "data.crop_size"),
        (["--data.scales=[]"], "data.scales"),
        (["--data.scales=[0]"], "data.scales"),
        (["--data.short_edge=[100, 50]"], "data.short_edge"),
        (["--model.learning_rate=-1"], "learning_rate"),
        (["--model.tile=[0, 10]"], "tile"),
        (["--model.class_weights=[0,0,0,0,0,0,0,0,0,0,0]"], "class_weights"),
        (["--model.network.init_args.in_channels=4"], "model.network.init_args.in_channels"),
        (["--model.network.init_args.encoder_name=resnet1010"], "no encoder is called 'resnet1010'; did you mean resnet101"),
        (["--model.network.init_args.encoder_name=convnext_tiny"], "did you mean tu-convnext_tiny"),
        (["--model.network=torch.nn.Identity"], "model.network has no parameters"),
        (['--data.dataset_options={"nonsense": 1}'], "data.dataset_options: scenes: got an unexpected keyword argument"),
        (['--data.dataset_options={"size": "big"}'], "the size 'big' is not a whole number"),
        (["--seed_everything=-1"], "seed_everything is -1"),
        (["--trainer.devices=[5]"], "`devices` selected with `CPUAccelerator`"),
        (["--trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches is 0"),
        (["--trainer.gradient_clip_val=-1"], "trainer.gradient_clip_val is -1"),
        (["--trainer.limit_train_batches=0"], "trainer.limit_train_batches is 0"),
        (["--trainer.val_check_interval=100"], "`val_check_interval` (100) must be less than"),
        (["--trainer.max_time=soon"], "is not a valid duration"),
        (["--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping", "--trainer.callbacks.monitor=val/x"], "monitor"),
        (["--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint", "--trainer.callbacks.monitor=val/miou",
          "--trainer.callbacks.mode=max"], "a run has this ModelCheckpoint anyway"),
        (["--run.root=$NOWHERE/runs"], "the environment variable NOWHERE is not set"),
        (["--run.cell=../elsewhere"], "run.cell"),
        (["--run.cell="], "run.cell"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_command_ends_in_one_sentence(tmp_path, capsys, options, message):
    said = refusal(capsys, "fit", f"--run.root={tmp_path}", *options)
    assert message in said and "Traceback" not in said and said.strip().count("\n") == 0
    assert not list(tmp_path.rglob("results.json"))


def test_images_of_unequal_sizes_in_one_batch_are_named(tmp_path, capsys):
    write_folder(tmp_path / "data", (64, 64), (64, 48))
    said = refusal(capsys, "fit", *folder(tmp_path), "--data.evaluation_batch=2")
    assert "a is 64x64 and b 48x64, which cannot be one batch; set data.evaluation_batch to 1" in said


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_one_line_whatever_process_reads_it(tmp_path, capsys, workers):
    write_folder(tmp_path / "data", (64, 64), (64, 64))
    damaged = tmp_path / "data" / "images" / "train" / "b.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    said = refusal(capsys, "fit", *folder(tmp_path), f"--data.num_workers={workers}")
    assert said.startswith(f"error: {damaged}: ") and said.strip().count("\n") == 0


def folder(root) -> list[str]:
    return [
        "--data.dataset=folder", f"--data.root={root / 'data'}", "--data.dataset_options={}", f"--run.root={root / 'runs'}",
        "--data.test_split=val",
    ]  # fmt: skip


def write_folder(root, *sizes: tuple[int, int]) -> None:
    for split in "train", "val":
        for name, (height, width) in zip("ab", sizes, strict=False):
            mask = Image.new("L", (width, height))
            mask.paste(1, (0, 0, width // 2, height))
            for kind, image in ("images", mask.convert("RGB")), ("masks", mask):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
                image.save(root / kind / split / f"{name}.png")
    (root / "classes.yaml").write_text("names: [a, b]\n")


@pytest.mark.parametrize("package", ["rich", "tensorboard"])
def test_a_package_that_an_option_needs_is_named_in_one_line(tmp_path, capsys, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    option = {
        "rich": ["--trainer.callbacks+=lightning.pytorch.callbacks.RichProgressBar"],
        "tensorboard": ["--trainer.logger=lightning.pytorch.loggers.TensorBoardLogger", "--trainer.logger.save_dir=x"],
    }[package]
    said = refusal(capsys, "fit", f"--run.root={tmp_path}", *option)
    assert package in said and "nstall" in said and said.strip().count("\n") == 0


def test_a_reader_that_ends_is_no_error():
    command = f"{sys.executable} -m refinenet_pl data list | head -1; exit ${{PIPESTATUS[0]}}"
    listing = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in listing.stderr and listing.returncode in (0, 141)
