"""Tables of scores, datasets, recipes and networks in README.md and docs/*.md, printed by cog (`make pages`)."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from tabulate import tabulate

from refinenet_pl.ablation.records import read_records
from refinenet_pl.ablation.rendering import duration
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import RECIPES, TABLES, find_recipe, find_table, names
from refinenet_pl.cli.describe import describe
from refinenet_pl.datasets.registry import DATASETS, find_dataset
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.report.claims import page

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"

# Best run of each recipe for CamVid at full resolution: table, cell, evaluation, hardware.
CAMVID = {
    "camvid": ("single", "paper", "2 CPU cores"),
    "camvid_gpu": ("capacity", "lite2_enlarged", "H100, shared"),
}
# Jégou et al. 2017, "The One Hundred Layers Tiramisu", Table 3: mIoU on the 233 test images, and parameters in millions.
PUBLISHED = {
    "SegNet": (46.4, 29.5),
    "FCN8": (57.0, 134.5),
    "DeepLab-LFOV": (61.6, 37.3),
    "Dilation8": (65.3, 140.8),
    "FC-DenseNet103": (66.9, 9.4),
}
ENCODERS = {"tu-tf_efficientnet_lite0": "EfficientNet-Lite0", "tu-tf_efficientnet_lite2": "EfficientNet-Lite2"}


def show(rows: Iterable[Sequence[object]], header: Sequence[str], text: Collection[int] = (0,)) -> None:
    """Print a Markdown table. Columns with the indices `text` are aligned to the left, the others to the right."""
    alignment = ["left" if column in text else "right" for column in range(len(header))]
    print(tabulate(list(rows), header, tablefmt="pipe", disable_numparse=True, colalign=alignment))


def camvid(links: str = "experiments/") -> None:
    """Print the mIoU of the best runs on CamVid, and published scores.

    Args:
        links: Relative path of the directory `experiments`, with a slash.
    """
    rows: list[Sequence[object]] = []
    for recipe, (table, cell, hardware) in CAMVID.items():
        record = read_records(RESULTS, f"{table}@{recipe}")[cell, 0]
        network = record["config"]["model"]["network"]["init_args"]
        rows.append((
            f"RefineNet, {network['width']} and {network['deepest_width']} channels",
            ENCODERS[network["encoder_name"]],
            f"**{_percent(_best(record, 'test')['miou'])}**",
            _percent(_best(record, "val")["miou"]),
            f"{record['network']['parameters'] / 1e6:.1f} M",
            f"{hardware}, {duration(record['training']['seconds'])}",
            f"[`{recipe}`]({links}recipes/{recipe}.yaml)",
            f"[record]({links}results/{table}@{recipe}/records.jsonl)",
        ))  # fmt: skip
    rows += [(f"{name}, published", "", f"{miou}", "", f"{size} M", "", "", "") for name, (miou, size) in PUBLISHED.items()]
    show(rows, ("network", "encoder", "test", "val", "parameters", "trained on", "recipe", "record"), text=(0, 1, 5, 6, 7))


def camvid_classes() -> None:
    """Print the IoU of each class of the best runs on CamVid."""
    rows, classes = [], find_dataset("camvid").classes.names
    for recipe, (table, cell, _) in CAMVID.items():
        record = read_records(RESULTS, f"{table}@{recipe}")[cell, 0]
        for split in ("test", "val"):
            scores = _best(record, split)
            percent = (_percent(score) for score in (scores["miou"], *(scores["iou"][name] for name in classes)))
            rows.append((f"`{recipe}`, {split}", *percent))
    show(rows, ("", "mIoU", *classes))


def _best(record: dict[str, Any], split: str) -> dict[str, Any]:
    """Scores of the tested checkpoint with the augmentation of the recipe: the image and its horizontal flip averaged."""
    evaluations = record["evaluations"]
    checkpoint = evaluations["test, flip"]["checkpoint"]
    return evaluations["test, flip" if split == "test" else f"val of {checkpoint}, flip"]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def kept(group: str, links: str = "../experiments/results/") -> None:
    """Print the table of a group of kept runs.

    Args:
        group: TABLE@RECIPE.
        links: Relative path of the kept results, with a slash.
    """
    lines = (RESULTS / group / f"{group}.md").read_text().splitlines()
    print(*(line for line in lines if line.startswith("|")), sep="\n")
    print(f"\n[records]({links}{group}/records.jsonl), [CSV]({links}{group}/{group}.csv)")


def class_differences(group: str, reference: str, others: Mapping[str, str]) -> None:
    """Print differences in the IoU and boundary IoU of each class on val, in points with their standard deviation over seeds.

    Args:
        group: TABLE@RECIPE.
        reference: Cell that is subtracted.
        others: Short names of the cells that it is subtracted from.
    """
    records = read_records(RESULTS, group)
    scores = {key: record["evaluations"]["val"] for key, record in records.items()}
    seeds = sorted(seed for cell, seed in scores if cell == reference)
    counts = torch.tensor([scores[reference, seeds[0]]["confusion"]]).sum((0, 2))
    header = ["class", "share of pixels", f"IoU of `{reference}`"]
    header += [f"{name}, {score}" for name in others.values() for score in ("IoU", "boundary IoU")]
    rows: list[Sequence[object]] = []
    for index, name in enumerate(scores[reference, seeds[0]]["iou"]):
        row = [name, f"{_percent(float(counts[index] / counts.sum()))} %"]
        row.append(_percent(mean(scores[reference, seed]["iou"][name] for seed in seeds)))
        for other in others:
            for score in ("iou", "boundary_iou"):
                points = [100 * (scores[other, seed][score][name] - scores[reference, seed][score][name]) for seed in seeds]
                row.append(f"{mean(points):+.1f} ± {stdev(points):.1f}".replace("-", "\N{MINUS SIGN}"))
        rows.append(row)
    show(rows, header)


def claims() -> None:
    """Print the page of claims without its title and its list of files."""
    text = page(RESULTS).split("\n## Files")[0].split("\n", 1)[1]
    print(re.sub(r"^##", "###", text.strip(), flags=re.MULTILINE))


def all_kept() -> None:
    """Print each kept table with its plot under a heading."""
    for file in sorted(RESULTS.glob("*@*/*@*.md")):
        group = file.parent.name
        title = file.read_text().splitlines()[0].removeprefix("## ")
        name, _, recipe = group.partition("@")
        print(f"### {name} on {recipe}\n\n{title.rpartition(':')[0]}.\n")
        kept(group)
        print(f"\n![Scores of {name} on {recipe}](../experiments/results/{group}/{group}.png)\n")


def files_of_results() -> None:
    """Print the list of kept results with the commands of their runs."""
    text = page(RESULTS).split("\n## Files")[1].split("\n", 1)[1].split("To view all results")[0]
    print(re.sub(r"\]\(([^)]+)\)", r"](../experiments/results/\1)", text).strip())


def datasets() -> None:
    """Print a row for each dataset."""
    rows = []
    for name in DATASETS:
        dataset = find_dataset(name)
        classes = len(dataset.classes) if hasattr(dataset, "classes") else "any"
        splits = [f"{split} {size:,}" if size else split for split, size in dataset.split_sizes.items()]
        splits += [f"{split} {size:,} (no labels)" for split, size in dataset.unlabeled_sizes.items()]
        rows.append((f"`{name}`", dataset.title, classes, ", ".join(splits), dataset.license))
    show(rows, ("name", "dataset", "classes", "splits", "license"), text=(0, 1, 3, 4))


def sources() -> None:
    """Print the files to download for each dataset."""
    for name in DATASETS:
        dataset = find_dataset(name)
        links = re.sub(r"(https?://[^\s,]+[^\s,.])", r"<\1>", dataset.source)
        print(f"`{name}`\n:   {links[0].upper()}{links[1:]}.\n")


def recipes() -> None:
    """Print the first sentence of the comment of each recipe."""
    rows = []
    for name in names(RECIPES):
        comment = []
        for line in find_recipe(name).read_text().splitlines():
            if not line.startswith("# "):
                break
            comment.append(line[2:])
        rows.append((f"[`{name}`](../experiments/recipes/{name}.yaml)", " ".join(comment).removesuffix(".")))
    show(rows, ("recipe", "contents"), text=(0, 1))


def tables() -> None:
    """Print title and source of each ablation table."""
    rows = []
    for name in names(TABLES):
        table = read_table(find_table(name))
        rows.append((f"[`{name}`](../experiments/tables/{name}.yaml)", table.title, len(table.cells), table.source))
    show(rows, ("table", "compares", "cells", "source"), text=(0, 1, 3))


def networks() -> None:
    """Print parameters and multiply-adds of the networks of the paper and of Light-Weight RefineNet, with 21 classes."""
    light = {"kernel_size": 1, "path_rcus": 0, "output_rcus": 0, "head_rcus": 0}
    variants = {
        "RefineNet, ResNet-50": ("resnet50", {}),
        "RefineNet, ResNet-101": ("resnet101", {}),
        "RefineNet, ResNet-152": ("resnet152", {}),
        "Light-Weight RefineNet, ResNet-50": ("resnet50", light),
    }
    rows = []
    for name, (encoder, arguments) in variants.items():
        with torch.device("meta"):
            network = RefineNet(encoder, encoder_weights=None, classes=21, **arguments)
            total = describe(network, torch.zeros(1, 3, 512, 512))[-1]
        rows.append((name, f"{total[3]:,}", f"{total[4] / 1e9:.1f} G"))
    show(rows, ("network", "parameters", "multiply-adds at 512x512"))


def processes() -> None:
    """Print the dependence of results on the number of processes."""
    record = json.loads((ROOT / "benchmarks/results/processes.json").read_text())
    first = record["evaluated"][0]
    rows: list[Sequence[object]] = []
    for row in record["evaluated"]:
        equal = "reference" if row is first else "equal" if row["confusion"] == first["confusion"] else "different"
        pixels, difference = sum(map(sum, row["confusion"])), abs(row["loss"] - first["loss"])
        rows.append((row["processes"], equal, f"{pixels:,}", f"{difference:.0e}"))
    show(rows, ("processes", "confusion matrix", "pixels in it", "difference of the loss"), text=())
    rows = []
    for row in record["trained"]:
        short, long = (row["after"][steps] for steps in ("20", "200"))
        differences = (f"{after['largest_difference']:.0e}" for after in (short, long))
        rows.append((row["processes"], row["threads"], row["accumulated"], *differences, f"{100 * long['miou']:.2f}"))
    print()
    header = ("processes", "threads each", "batches per step", "after 20 steps", "after 200 steps", "mIoU %")
    show(rows, header, text=())
