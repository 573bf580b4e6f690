"""`refinenet data`: list the datasets, check a copy of one, plot its samples, and import annotations."""

import re
import sys
import textwrap
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt
from tabulate import tabulate

from refinenet_pl.cli import data_import
from refinenet_pl.datasets.base import SegmentationDataset, ValueDataset
from refinenet_pl.datasets.check import SplitContents, check_split, shared_images
from refinenet_pl.datasets.image_format import ImageFormat, describe_channels
from refinenet_pl.datasets.registry import DATASETS, VALUE_DATASETS, find_any_dataset, require_options
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import DataError
from refinenet_pl.files import expand_path, refuse_existing, replaced
from refinenet_pl.visualization.contact_sheet import sheet
from refinenet_pl.visualization.fonts import one_line, shorten
from refinenet_pl.visualization.value_sheet import value_sheet

# Max number of messages about bad files: in total, and of messages that differ only in names and numbers.
SHOWN, SHOWN_ALIKE = 20, 3
# Histograms of values: characters from the lowest to the highest bar, and the number of bars.
BARS, BINS = " ▁▂▃▄▅▆▇█", 24

CHECK_HELP = (
    "Open every image and mask of a dataset. Problems are: a file that cannot be used; a split whose size differs from the "
    "published one; an image that is both in val or test and in another split; a split that cannot be opened, if it is given "
    "by --splits or is train or val (test if there is no val). Other splits may be missing. The exit status is 0 if there are "
    "no problems and 1 otherwise."
)


def list_datasets() -> str:
    """Return a table of all datasets."""
    rows: list[tuple[str | int, ...]] = []
    for name in (*DATASETS, *VALUE_DATASETS):
        try:
            dataset = find_any_dataset(name)
        except ImportError as error:
            rows.append((name, _wrapped(f"cannot be imported ({error})", 18)))
            continue
        # A custom dataset reads its classes or values from the copy.
        if issubclass(dataset, ValueDataset):
            classes: str | int = ", ".join(dataset.values.names) if hasattr(dataset, "values") else "any values"
        else:
            classes = len(dataset.classes) if hasattr(dataset, "classes") else "any"
        splits = [f"{split} {size:,}" if size else split for split, size in dataset.split_sizes.items()]
        splits += [f"{split} {size:,} (no labels)" for split, size in dataset.unlabeled_sizes.items()]
        texts = _wrapped(dataset.title, 18), _wrapped(dataset.license, 18), _wrapped(dataset.source, 44)
        rows.append((name, texts[0], _wrapped(str(classes), 12), "\n".join(splits), *texts[1:]))
    headers = ("name", "title", "classes or values", "splits", "license", "source")
    return tabulate(rows, headers, tablefmt="grid", colalign=("left", "left", "right"), disable_numparse=True)


def check(name: str, root: str | None, splits: list[str] | None, options: dict[str, Any], workers: int | None) -> int:
    """Check a copy of a dataset and print the result.

    Args:
        name: Name of the dataset, or import path of its class.
        root: Folder of the copy; None for a dataset without files.
        splits: Splits to check; None for all splits with labels.
        options: Additional arguments of the dataset class.
        workers: Number of processes; None for one per core.

    Returns:
        The number of problems.
    """
    dataset_class = find_any_dataset(name)
    required = splits or ("train", "val" if "val" in dataset_class.split_sizes else "test")
    problems, checked, absent = 0, [], []
    for split in splits or dataset_class.split_sizes:
        try:
            dataset = dataset_class(root=root, split=split, **options)
        except DataError as error:
            print(f"{split}: {'cannot be opened' if split in required else 'missing'}: {error}\n")
            problems += split in required
            absent.append(split)
            continue
        contents = check_split(dataset, workers)
        published = dataset_class.split_sizes[split]
        print(f"{split}: {_number(contents.samples, published)}")
        left_out = [f"  left out {dataset.left_out}"] if dataset.left_out else []
        values = dataset.values if isinstance(dataset, ValueDataset) else None
        lines = [*_measures(contents, values), *_pixels(contents, dataset.image_format)]
        print(*lines, *left_out, *_faults(contents.faults), "", sep="\n")
        problems += (published not in (None, contents.samples)) + len(contents.faults)
        checked.append(contents)
    if checked and isinstance(dataset, SegmentationDataset):
        print(_frequencies(dataset.classes.names, checked), end="\n\n")
    for first, second in combinations(checked, 2):
        scored = {first.split, second.split} & {"val", "test"}
        # Skip unions, such as trainval of train and val.
        if scored and first.split not in second.split and second.split not in first.split:
            problems += _compare(first, second)
    not_opened = f" (not opened: {', '.join(absent)})" if absent else ""
    print(f"{problems or 'no'} problem{'s' * (problems != 1)}{'' if problems else ' found'}{not_opened}")
    return problems


def _number(samples: int, published: int | None) -> str:
    if published in (None, samples):
        return f"{samples:,} images" + (", as published" if published else "")
    difference = f"{abs(samples - published):,} {'fewer' if samples < published else 'more'}"
    return f"{samples:,} images, {difference} than the published {published:,}"


def _measures(contents: SplitContents, values: Values | None) -> list[str]:
    if contents.widths is None or contents.heights is None:
        return []
    width, height = (f"{low}" if low == high else f"{low} to {high}" for low, high in (contents.widths, contents.heights))
    lines = [f"  {width} pixels wide, {height} high"]
    if values is None:
        return [*lines, f"  void: {contents.counts[-1] / contents.pixels:.2%} of all pixels"]
    describe = _label_share if values.kind == "labels" else _distribution
    return lines + [describe(contents, values, channel) for channel in range(len(values))]


def _label_share(contents: SplitContents, values: Values, channel: int) -> str:
    """Describe a label: its share of the known pixels, the images without it, and the share of unknown pixels."""
    known, pixels, images = contents.counts[channel], contents.positive[:, channel], len(contents.positive)
    share = f"{pixels.sum() / known:.3%} of known pixels" if known else "-"
    return (
        f"  {one_line(values.names[channel])}: {share}, {np.count_nonzero(pixels == 0):,} of {images:,} images without it; "
        f"unknown: {1 - known / contents.pixels:.2%} of all pixels"
    )


def _pixels(contents: SplitContents, image_format: ImageFormat | None) -> list[str]:
    """Describe the channels and pixel values of images that are not 8-bit RGB."""
    found = contents.pixel_values
    if image_format is None or found is None:
        return []
    channels = describe_channels(image_format.channels)
    limits, outside = f"{image_format.range[0]:g} to {image_format.range[1]:g}", found.outside / found.number
    return [f"  {channels}, pixel values {found.smallest:.6g} to {found.largest:.6g}; {outside:.2%} outside the range {limits}"]


def _distribution(contents: SplitContents, values: Values, channel: int) -> str:
    """Describe the values of a channel: share of unknown ones, percentiles and a histogram between the outer ones."""
    unknown = f"unknown: {1 - contents.counts[channel] / contents.pixels:.2%} of all pixels"
    known, name = contents.values[channel], one_line(values.names[channel])
    if not known.size:
        return f"  {name}: {unknown}"
    low, *middle, high = np.percentile(known, (0, 5, 50, 95, 100))
    bars = np.histogram(known, BINS, (low, high) if low < high else None)[0]
    levels = "".join(BARS[int(np.ceil((len(BARS) - 1) * count / bars.max()))] for count in bars)
    quantiles = ", ".join(f"{share} % below {value:.4g}" for share, value in zip((5, 50, 95), middle, strict=True))
    return f"  {name}: {low:.4g} to {high:.4g} {values.unit} |{levels}|, {quantiles}; {unknown}".replace("  |", " |")


def _faults(faults: list[str]) -> list[str]:
    """Format the messages about bad files, grouped by similarity, with the number of each group."""
    if not faults:
        return []
    groups: dict[str, list[str]] = {}
    for fault in faults:
        # Similar messages differ only in paths and numbers.
        groups.setdefault(re.sub(r"\S*[/\\]\S*|\d+", "", fault), []).append(fault)
    lines = [f"  {len(faults):,} cannot be used:"]
    left = SHOWN
    for group in sorted(groups.values(), key=len, reverse=True):
        shown = group[: min(SHOWN_ALIKE if len(groups) > 1 else SHOWN, left)]
        left -= len(shown)
        lines += [f"  - {fault}" for fault in shown]
        if len(group) > len(shown):
            lines.append(f"    and {len(group) - len(shown):,} more {'like this' if shown else 'of another kind'}")
    return lines


def _frequencies(names: tuple[str, ...], checked: list[SplitContents]) -> str:
    """Format the share of each class in the labeled pixels of each split, and the classes that never occur."""
    counts = np.array([contents.counts[:-1] for contents in checked])
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    rows = [
        (shorten(one_line(name), 40), *[f"{share:.3%}" if share else "-" for share in column])
        for name, column in zip(names, shares.T, strict=True)
    ]
    headers = ("share of labeled pixels", *[contents.split for contents in checked])
    lines = [tabulate(rows, headers, tablefmt="simple", colalign=("left", *["right"] * len(checked)), disable_numparse=True)]
    for contents in checked:
        never = [one_line(name) for name, count in zip(names, contents.counts, strict=False) if not count]
        if never and contents.digests:
            lines.append(f"{contents.split}: {len(never)} of {len(names)} classes never occur: {', '.join(never)}")
    return "\n".join(lines)


def _compare(first: SplitContents, second: SplitContents) -> int:
    """Print the names that two splits share; returns the number of images that are equal in both."""
    same, others = shared_images(first, second)
    if same:
        more = f" and {len(same) - 5:,} more" if len(same) > 5 else ""
        print(f"images in both {first.split} and {second.split}: {len(same):,} ({', '.join(same[:5])}{more})\n")
    if others:
        print(f"names in both {first.split} and {second.split}, but of different images: {len(others):,}\n")
    return len(same)


def _show(chosen: Namespace) -> Path:
    """Plot samples of a dataset to a PNG file and return its path."""
    output = expand_path(chosen.output or f"{chosen.name}_{chosen.split}.png", DataError)
    if not chosen.overwrite:
        refuse_existing([output], DataError)
    dataset = find_any_dataset(chosen.name)(root=chosen.root, split=chosen.split, **chosen.options)
    figure = value_sheet(dataset, chosen.samples) if isinstance(dataset, ValueDataset) else sheet(dataset, chosen.samples)
    with replaced(output) as stream:
        figure.savefig(stream, format="png", dpi=100)
    return output


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _parser() -> ArgumentParser:
    copy = ArgumentParser(add_help=False)
    copy.add_argument("name", help="name of a dataset (see `data list`), or import path of a class")
    copy.add_argument("root", nargs="?", help="folder of the dataset, if it has files")
    copy.add_argument("--options", type=dict[str, Any], default={}, help="additional arguments of the dataset class, as JSON")
    parser = ArgumentParser(prog="refinenet data", description="List, check, plot and import datasets.")
    commands = parser.add_subcommands()
    commands.add_subcommand("list", ArgumentParser(), help="list all datasets")
    checking = ArgumentParser(parents=[copy], description=CHECK_HELP)
    checking.add_argument("--splits", type=str, nargs="+", help="splits to check; by default, all splits with labels")
    checking.add_argument("--workers", type=PositiveInt | None, help="number of processes; by default, one per core")
    commands.add_subcommand("check", checking, help="open every image and mask, and count the pixels of each class")
    showing = ArgumentParser(parents=[copy], description="Plot evenly spaced samples of a split.")
    showing.add_argument("--split", default="train", help="split to plot")
    showing.add_argument("--output", type=Path | None, help="PNG file to write; by default, NAME_SPLIT.png")
    showing.add_argument("--overwrite", action="store_true", help="replace an existing PNG file")
    showing.add_argument("--samples", type=PositiveInt, default=4, help="number of samples")
    commands.add_subcommand("show", showing, help="plot samples to a PNG file")
    commands.add_subcommand("import", data_import.parser(), help=data_import.HELP)
    return parser


def main(arguments: list[str]) -> None:
    """Run `refinenet data`; `arguments` begins with the command."""
    config = _parser().parse_args(arguments[1:])
    chosen = config[config.subcommand]
    if config.subcommand == "list":
        print(list_datasets())
        return
    try:
        if config.subcommand == "import":
            return data_import.run(chosen)
        require_options(find_any_dataset(chosen.name), chosen.options, f"--options: {chosen.name}")
        if config.subcommand == "check":
            problems = check(chosen.name, chosen.root, chosen.splits, chosen.options, chosen.workers)
            sys.exit(1 if problems else 0)
        print(f"written: {_show(chosen)}")
    except ValueError as error:  # a DataError, or no such dataset
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or chosen.output}: cannot be written ({error.strerror or error})")
