"""Facts of a recipe for commands that do not train it."""

from pathlib import Path
from typing import Any

import yaml

from refinenet_pl.cli.recipes import with_bases
from refinenet_pl.datasets.base import ValueDataset
from refinenet_pl.datasets.registry import find_any_dataset
from refinenet_pl.errors import CatalogError
from refinenet_pl.evaluation.value_evaluator import scores_of
from refinenet_pl.metrics.confusion import Scores
from refinenet_pl.metrics.score import Score
from refinenet_pl.tracking.configuration import flatten


def configuration_of(recipe: Path) -> dict[str, Any]:
    """Values of a recipe and its bases by dotted key.

    Raises:
        CatalogError: A file is not a recipe, or a base does not exist.
    """
    config: dict[str, Any] = {}
    for file in with_bases(recipe):
        try:
            config |= flatten(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
        except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
            raise CatalogError(f"{file}: is not a recipe: {error}") from error
    return config


def primary_score_of(recipe: Path) -> Score:
    """Primary score of a recipe, from its dataset; mIoU if it names none.

    Raises:
        CatalogError: The recipe names no dataset of this package or importable class.
    """
    config = configuration_of(recipe)
    name = config.get("data.dataset")
    try:
        dataset = None if name is None else find_any_dataset(name)
    except ValueError as error:
        raise CatalogError(f"{recipe}: data.dataset: {error}") from error
    if dataset is not None and issubclass(dataset, ValueDataset):
        return scores_of(dataset.values_of(config.get("data.root"))).SCORES[0]
    return Scores.SCORES[0]
