"""Model card of a published network, as the Hugging Face Hub shows it."""

import re
from collections.abc import Mapping
from typing import Any

import yaml
from tabulate import tabulate

from refinenet_pl.datasets.base import DenseDataset
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.values import Values
from refinenet_pl.metrics.registry import SCORES
from refinenet_pl.models.refinenet import RefineNet
from refinenet_pl.report.templates import template

SHOWN = 12
"""Max number of classes or values that a card names."""


def model_card(
    network: RefineNet,
    meaning: Classes | Values,
    identifier: str,
    checkpoint: str,
    dataset: type[DenseDataset] | None = None,
    record: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    scored: str = "",
) -> str:
    """Render the card as Markdown with its metadata.

    Args:
        network: The network.
        meaning: Classes or values of its channels.
        identifier: Directory or hub id of the model.
        checkpoint: File name of the weights that were scored.
        dataset: Class of the dataset that it was trained on; None if unknown.
        record: Record of its run; None if there is none.
        config: Configuration of its run; None if there is none.
        scored: Weights that the scores are for, in words; empty for `checkpoint`.

    Raises:
        MissingPackageError: jinja2 is not installed.
    """
    is_depth = isinstance(meaning, Values) and meaning.kind == "depth"
    license_name = "unknown" if dataset is None else re.sub(r"[^a-z0-9.]+", "-", dataset.license.lower()).strip("-")
    return template("model_card.md.jinja", keep_trailing_newline=True).render(
        pipeline_tag="depth-estimation" if is_depth else "image-segmentation",
        license_name=license_name,
        title=f"RefineNet, {dataset.title}" if dataset else "RefineNet",
        network=f"RefineNet with the encoder {network.config['encoder_name']}",
        parameters=f"{sum(parameter.numel() for parameter in network.parameters()):,}",
        meaning=_describe(meaning),
        identifier=identifier,
        dataset=dataset,
        scores=_scores((record or {}).get("evaluations", {}), checkpoint),
        scored=scored or checkpoint,
        config=yaml.safe_dump(dict(config), sort_keys=False, width=100).rstrip() if config else "",
    )


def _describe(meaning: Classes | Values) -> str:
    more = f" and {len(meaning) - SHOWN} more" if len(meaning) > SHOWN else ""
    names = ", ".join(meaning.names[:SHOWN]) + more
    if isinstance(meaning, Classes):
        return f"{len(meaning)} classes: {names}"
    return f"{meaning.kind} ({names}){f' in {meaning.unit}' if meaning.unit else ''}"


def _scores(evaluations: Mapping[str, Mapping[str, Any]], checkpoint: str) -> str:
    """Table of the scores of these weights; empty if there are none."""
    own = {name: scores for name, scores in evaluations.items() if scores.get("checkpoint") == checkpoint}
    known = [score for name, score in SCORES.items() if any(scores.get(name) is not None for scores in own.values())]
    rows = [
        [name, scores.get("split", ""), *(_number(scores.get(score.name), score.factor, score.decimals) for score in known)]
        for name, scores in own.items()
    ]
    header = ["evaluation", "split", *(score.heading for score in known)]
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True) if rows else ""


def _number(value: float | None, factor: float, decimals: int) -> str:
    return "" if value is None else f"{factor * value:.{decimals}f}"
