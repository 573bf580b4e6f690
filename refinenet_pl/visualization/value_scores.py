"""Readable scores of continuous values: a table, as text and as a CSV file, and an image of errors."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tabulate import tabulate

from refinenet_pl.files import replaced
from refinenet_pl.metrics.registry import SCORES
from refinenet_pl.visualization.fonts import one_line, shorten
from refinenet_pl.visualization.sample import ValueSample
from refinenet_pl.visualization.value_samples import sheet

COLUMNS = ("score", "channel", "value")
"""Columns of `value_rows`."""


def value_rows(evaluation: dict[str, Any]) -> Iterator[tuple[str, str, float | None]]:
    """Return name, channel and stored value of each score; the channel is empty for a score over all channels.

    Args:
        evaluation: Dict of the scores, as in results.json.
    """
    for name in SCORES:
        if name in evaluation:
            yield name, "", evaluation[name]
    for parts in ("per_channel", "per_keypoint", "per_label"):
        for name, channels in evaluation.get(parts, {}).items():
            yield from ((name, channel, value) for channel, value in channels.items())


def value_table(evaluation: dict[str, Any]) -> str:
    """Format the scores, over all channels and by channel.

    Args:
        evaluation: Dict of the scores, as in results.json.
    """
    names = list(dict.fromkeys(name for name, _, _ in value_rows(evaluation)))
    found = {(name, channel): value for name, channel, value in value_rows(evaluation)}
    channels = list(dict.fromkeys(channel for _, channel in found))
    if len(channels) == 1:
        rows = [[SCORES[name].heading, _text(name, found[name, ""])] for name in names]
        return tabulate(rows, ["score", "value"], colalign=("left", "right"), disable_numparse=True)
    rows = [
        [shorten(one_line(channel), 40) or "all", *(_text(name, found.get((name, channel))) for name in names)]
        for channel in [*channels[1:], ""]
    ]
    header = ["channel", *(SCORES[name].heading for name in names)]
    return tabulate(rows, header, colalign=("left", *["right"] * len(names)), disable_numparse=True)


def save_value_scores(stem: Path, evaluation: dict[str, Any], samples: Sequence[ValueSample]) -> list[Path]:
    """Write the scores (STEM.csv), and samples with their errors (STEM-errors.png) if there are any, atomically.

    Args:
        stem: Path of the files without suffix and extension.
        evaluation: Dict of the scores, as in results.json.
        samples: Samples of the split.

    Returns:
        The files.
    """
    files = [stem.with_name(f"{stem.name}.csv")]
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([COLUMNS, *value_rows(evaluation)])
    with replaced(files[0], durable=False) as stream:
        stream.write(lines.getvalue().encode())
    if samples:
        files.append(stem.with_name(f"{stem.name}-errors.png"))
        with replaced(files[1], durable=False) as stream:
            Image.fromarray(sheet(samples)).save(stream, "png")
    return files


def _text(name: str, value: float | None) -> str:
    score = SCORES[name]
    return "-" if value is None else score.format(value * score.factor)
