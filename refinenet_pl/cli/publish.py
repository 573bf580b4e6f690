"""Command `publish`: write a trained network as a model directory with its card, and optionally push it to the Hub."""

import json
import sys
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jsonargparse import ArgumentParser

from refinenet_pl.checkpoints.image_format import read_image_format
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.datasets.base import DenseDataset
from refinenet_pl.datasets.registry import find_any_dataset
from refinenet_pl.errors import CheckpointError, MissingPackageError
from refinenet_pl.files import expand_path
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.report.model_card import model_card
from refinenet_pl.state_dicts import nonfinite
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.tracking.identity import BEST, LAST

Precision = Literal["float32", "float16"]


def publish(run: Path, output: Path, push: str | None = None, dtype: Precision = "float32") -> None:
    """Write the network of a run with its classes or values, record, configuration and card.

    Args:
        run: Directory of a run, or one of its checkpoints. Of a directory, `best.ckpt` is published, or `last.ckpt` if the best
            one was selected on the test split.
        output: Directory to write; it must not exist.
        push: Id of a model on the Hugging Face Hub (`user/name`) to upload the directory to; None to upload nothing.
        dtype: Type of the stored weights. `float16` halves the file; the weights are rounded, and are float32 again when they
            are loaded.

    Raises:
        CheckpointError: The run has no checkpoint, its network is not a RefineNet, its weights exceed float16, the directory
            cannot be written, or the upload fails.
    """
    config = _read(run if run.is_dir() else run.parent, "config.yaml")
    record = _read(run if run.is_dir() else run.parent, "results.json")
    checkpoint = run / _chosen(run, config) if run.is_dir() else run
    task, meaning = load_for_prediction(checkpoint)
    if not isinstance(task.network, RefineNet):
        raise CheckpointError(f"{checkpoint}: contains a {type(task.network).__name__}; only a RefineNet can be published")
    task.network.to(getattr(torch, dtype))
    if names := nonfinite(task.network.state_dict()):
        raise CheckpointError(f"{checkpoint}: values of {', '.join(names[:3])} exceed {dtype}; publish it as float32")
    activation = task.hparams["activation"] if isinstance(task, RegressionTask) else None
    scored = checkpoint.name + (f", before they were rounded to {dtype}" if dtype != "float32" else "")
    card = model_card(task.network, meaning, push or str(output), checkpoint.name, _dataset(config), record, config, scored)
    files = {"README.md": card}
    files |= {"recipe.yaml": yaml.safe_dump(config, sort_keys=False)} if config else {}
    files |= {"results.json": json.dumps(record, indent=1)} if record else {}
    write_model_directory(output, task.network, meaning, activation, files, read_image_format(checkpoint))
    print(f"written: {output}, from {checkpoint}")
    if push:
        print(f"uploaded: {upload(output, push)}")


def upload(directory: Path, identifier: str) -> str:
    """Upload a model directory to the Hugging Face Hub, with the token of `huggingface-cli login` or HF_TOKEN.

    Returns:
        Address of the model.

    Raises:
        CheckpointError: The upload fails; the directory is kept.
    """
    from huggingface_hub import HfApi  # a dependency of segmentation_models_pytorch

    try:
        api = HfApi()
        api.create_repo(identifier, exist_ok=True)
        return str(api.upload_folder(repo_id=identifier, folder_path=directory))
    except Exception as error:  # the hub raises errors of many types, also of its HTTP client
        raise CheckpointError(
            f"{directory}: is written, but was not uploaded to {identifier} ({type(error).__name__}: {error}); log in with "
            "huggingface-cli login, or set HF_TOKEN, and upload it with huggingface-cli upload"
        ) from error


def _chosen(run: Path, config: dict[str, Any]) -> str:
    data = config.get("data") or {}
    name = LAST if data.get("val_split") == data.get("test_split") else BEST
    if not (run / name).exists():
        raise CheckpointError(f"{run}: has no {name}; give a finished run, or the path of a checkpoint")
    return name


def _read(directory: Path, name: str) -> dict[str, Any]:
    """Content of a YAML or JSON file of a run; empty if there is none."""
    file = directory / name
    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.suffix == ".yaml" else json.loads(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CheckpointError(f"{file}: cannot be read ({error}); correct it, or publish a copy of the checkpoint") from error
    return content if isinstance(content, dict) else {}


def _dataset(config: dict[str, Any]) -> type[DenseDataset] | None:
    """Class of the run's dataset; None if it is not known here."""
    try:
        return find_any_dataset(config["data"]["dataset"])
    except (KeyError, TypeError, ValueError, ImportError):
        return None


def main(arguments: list[str]) -> None:
    """Run `publish`; `arguments` begins with the command."""
    parser = ArgumentParser(
        prog="refinenet publish",
        description="Write the network of a run as a model directory, with its classes or values, record, recipe and a model "
        "card, for refinenet_pl.load, predict, test, fit --init and RefineNet.from_pretrained.",
    )
    parser.add_argument("run", type=Path, help="directory of a run, or one of its checkpoints")
    parser.add_argument("-o", "--output", type=Path, required=True, help="directory to write; it must not exist")
    parser.add_argument("--push", help="id of a model on the Hugging Face Hub (user/name) to upload it to")
    parser.add_argument("--dtype", type=Precision, default="float32", help="type of the stored weights: float32 or float16")
    options = parser.parse_args(arguments[1:])
    try:
        run, output = (expand_path(path, CheckpointError) for path in (options.run, options.output))
        publish(run, output, options.push, options.dtype)
    except (CheckpointError, MissingPackageError) as error:
        sys.exit(f"error: {error}")
