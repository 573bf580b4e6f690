"""Prediction of images and writing of the files, for `refinenet predict`."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from refinenet_pl.checkpoints.image_format import read_image_format
from refinenet_pl.checkpoints.loading import load_for_prediction, peek_meaning
from refinenet_pl.cli.inputs import Input, find_images, select
from refinenet_pl.cli.options import OptionError
from refinenet_pl.cli.outputs import choose_stems, refuse_collisions
from refinenet_pl.cli.predictor import Prepared, find_device, predict_each, prepare
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.readers.channels import extensions_of
from refinenet_pl.datasets.submission import SERVERS
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CheckpointError, DataError
from refinenet_pl.files import distinct, expand_path
from refinenet_pl.metrics.labels import LabelCounts
from refinenet_pl.tasks.regression import RegressionTask
from refinenet_pl.visualization import label_predictions, predictions, value_predictions
from refinenet_pl.visualization.fonts import one_line, shorten

Format = Literal["auto", "png", "npy"]
"""Format of predicted values; `auto` chooses by their meaning, see `choose_format`."""

# Max number of failures that the final error message lists.
SHOWN = 20


def predict(
    images: Sequence[str],
    ckpt_path: Path,
    output: Path,
    device: str | None = None,
    only: Path | None = None,
    submission: str | None = None,
    format: Format = "auto",
    threshold: float | None = None,
    compile: bool | None = None,
    overwrite: bool = False,
    **inference: Any,
) -> None:
    """Predict images and write the predictions.

    Without `submission`, writes the files of `save_prediction` for each image, or those of `save_values` or `save_labels` if
    the network predicts values, named by `output_names`. Images that cannot be predicted are skipped and reported at the end.

    Args:
        images: Images, folders of images, or patterns.
        ckpt_path: A run's last.ckpt or best.ckpt, or a model directory.
        output: Folder to write to; created if missing.
        device: Name of a torch device; None selects a GPU if one is available.
        only: Text file with one name per line; all other images are skipped.
        submission: Name of an evaluation server, to write its archive instead; for classes only.
        format: Format of predicted values; for values only.
        threshold: Probability above which a pixel has a label; for labels only. None for that of the task's metric.
        compile: Compile the network with torch.compile; None uses the run's setting.
        overwrite: Replace existing files.
        inference: Overrides of the fields of the run's test `Inference` or `ValueInference`.

    Raises:
        DataError: No image is found, a file would be overwritten, or some images could not be predicted (raised at the end).
        CheckpointError: The checkpoint is not usable, or not for this server.
        OptionError: The device does not exist, the overrides are invalid, or an option is not for this network.
        OSError: A prediction cannot be written.
    """
    chosen_device = find_device(device)
    ckpt_path, output = expand_path(ckpt_path, CheckpointError), expand_path(output, DataError)
    load = partial(prepare, ckpt_path, chosen_device, compile, inference)
    inputs, left_out = find_images(images, output, extensions_of(read_image_format(ckpt_path)))
    if only:
        inputs = select(inputs, expand_path(only, DataError))
    if str(left_out):
        print(one_line(f"left out: {left_out}"))
    # Known before the network is loaded, so that problems with files are reported at once.
    meaning = peek_meaning(ckpt_path)
    if isinstance(meaning, Values):
        for name, given in ("submission", submission), ("protocol", inference.get("protocol")):
            if given is not None:
                raise OptionError(f"--{name} {given}: is for classes, but {ckpt_path} predicts values; omit it")
        if meaning.kind == "labels":
            predict_labels(inputs, output, load, meaning, format, threshold, overwrite)
            return
        if threshold is not None:
            raise OptionError(f"--threshold {threshold}: is for labels, but {ckpt_path} predicts {meaning.kind}; omit it")
        predict_values(inputs, output, load, meaning, format, overwrite)
        return
    if format != "auto":
        load_for_prediction(ckpt_path)  # may raise an error, which is more important
        raise OptionError(f"--format {format}: is for values, but {ckpt_path} predicts classes; omit it")
    if threshold is not None:
        raise OptionError(f"--threshold {threshold}: is for labels, but {ckpt_path} predicts classes; omit it")
    if submission:
        predict_for_server(inputs, output, load, submission, overwrite, ckpt_path)
    else:
        predict_classes(inputs, output, load, overwrite)


def predict_classes(inputs: list[Input], output: Path, load: Callable[[], Prepared], overwrite: bool) -> None:
    """Segment images and write the files of `save_prediction`."""
    stems = choose_stems(inputs, output, predictions.prediction_files, overwrite)
    task, view, classes, image_format = load()
    assert isinstance(classes, Classes)
    failures: list[str] = []
    for index, image, mask in predict_each(task, view, inputs, failures, image_format):
        predictions.save_prediction(stems[index], image, mask, classes)
    print(f"{len(inputs) - len(failures)} images segmented into {output}")
    _report(failures, len(inputs))


def predict_values(
    inputs: list[Input], output: Path, load: Callable[[], Prepared], values: Values, format: Format, overwrite: bool
) -> None:
    """Predict the values of images and write the files of `save_values`."""
    try:
        chosen = value_predictions.choose_format(values, format)
    except ValueError as error:
        raise OptionError(f"--format {format}: {error}; use --format npy") from error
    stems = choose_stems(inputs, output, partial(value_predictions.prediction_files, format=chosen), overwrite)
    task, view, _, image_format = load()
    failures: list[str] = []
    for index, _, target in predict_each(task, view, inputs, failures, image_format):
        try:
            value_predictions.save_values(stems[index], inputs[index].path, target, values, chosen)
        except DataError as error:
            failures.append(str(error))
    print(f"{len(inputs) - len(failures)} images predicted into {output}: {describe(values, chosen)}")
    _report(failures, len(inputs))


def predict_labels(
    inputs: list[Input],
    output: Path,
    load: Callable[[], Prepared],
    values: Values,
    format: Format,
    threshold: float | None,
    overwrite: bool,
) -> None:
    """Predict the labels of images and write the files of `save_labels`."""
    if threshold is not None and not 0 < threshold < 1:
        raise OptionError(f"--threshold {threshold}: must be above 0 and below 1")
    chosen = value_predictions.choose_format(values, format)
    stems = choose_stems(inputs, output, partial(label_predictions.label_files, values=values, format=chosen), overwrite)
    task, view, _, image_format = load()
    assert isinstance(task, RegressionTask)
    metric = task.evaluator("test").metric
    if threshold is None:
        threshold = metric.threshold if isinstance(metric, LabelCounts) else 0.5
    failures: list[str] = []
    for index, image, probability in predict_each(task, view, inputs, failures, image_format):
        label_predictions.save_labels(stems[index], image, probability, values, chosen, threshold)
    form = f"masks, 255 above a probability of {threshold:g}" if chosen == "png" else "probabilities, float32, NumPy files"
    print(f"{len(inputs) - len(failures)} images predicted into {output}: {_listed(values)}; {form}")
    _report(failures, len(inputs))


def describe(values: Values, format: value_predictions.FileFormat) -> str:
    """Describe the numbers in the files: `depth in m, 16-bit PNG, divisor 1000`."""
    unit = f" in {values.unit}" if values.unit else ""
    form = f"16-bit PNG, divisor {value_predictions.png_divisor(values)}" if format == "png" else "float32, NumPy files"
    return f"{_listed(values)}{unit}; {form}"


def _listed(values: Values) -> str:
    return shorten(one_line(", ".join(values.names)), 60)


def predict_for_server(
    inputs: list[Input], output: Path, load: Callable[[], Prepared], name: str, overwrite: bool, ckpt_path: Path
) -> None:
    """Segment images and write the archive for an evaluation server, in addition to the folder that it is packed from."""
    server = SERVERS[name]
    folder = output / server.dataset
    files = [server.mask_file(output, image.path) for image in inputs]
    for image, file, free in zip(inputs, files, distinct([file.stem for file in files]), strict=True):
        if free != file.stem:
            raise DataError(f"{image.path}: another image is called {file.stem} too; remove one, since the server accepts one")
    archive = server.archive_file(output)
    refuse_collisions(inputs, [*files, archive], overwrite)
    others = {path for path in folder.rglob("*") if not path.is_dir()}.difference(files)
    if others:
        raise DataError(f"{min(others)}: would be packed with these predictions; remove {folder}, or choose another --output")
    task, view, classes, image_format = load()
    assert isinstance(classes, Classes)
    if classes.names != server.classes().names:
        raise CheckpointError(f"{ckpt_path}: its classes are not those of the server {name}; train on {server.dataset}")
    failures: list[str] = []
    for index, _, mask in predict_each(task, view, inputs, failures, image_format):
        server.save(files[index], mask)
    _report(failures, len(inputs), f"; {archive.name} is not packed")
    print(f"{len(inputs)} images segmented; submit {server.pack(output)}")


def _report(failures: list[str], number: int, consequence: str = "") -> None:
    """Raise a DataError that lists the images that could not be predicted, if there are any."""
    if failures:
        more = [f"and {len(failures) - SHOWN} more"] if len(failures) > SHOWN else []
        head = f"{len(failures)} of {number} images could not be predicted{consequence}:"
        raise DataError("\n- ".join([head, *failures[:SHOWN], *more]))
