"""Page of claims: README.md of a directory of kept results, generated from its records."""

from pathlib import Path
from typing import get_args

from tabulate import tabulate

from refinenet_pl.ablation.claims import Effect, effects, read_claims
from refinenet_pl.ablation.records import read_records
from refinenet_pl.ablation.rendering import MINUS
from refinenet_pl.ablation.scores import with_unit
from refinenet_pl.ablation.significance import CONFIDENCE, POWER
from refinenet_pl.ablation.table import Claim, Family
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import RECIPES, find_table, names
from refinenet_pl.metrics.dead_relu import inactive_blocks
from refinenet_pl.metrics.registry import SCORES
from refinenet_pl.metrics.score import Score
from refinenet_pl.report.templates import template

_TITLES = {
    "scenes": "Scenes",
    "scenes_depth": "Scenes, depth",
    "scenes_keypoints": "Scenes, keypoints",
    "scenes_labels": "Scenes, labels",
    "camvid": "CamVid",
    "camvid_half": "CamVid at half resolution",
    "camvid_paper_width": "CamVid at half resolution, paper's width",
    "nyudv2": "NYUDv2",
    "nyudv2_depth": "NYUDv2, depth",
    "person_part": "Person-Part",
}


def page(root: Path) -> str:
    """Render the page as Markdown.

    Args:
        root: Directory of kept results.

    Raises:
        RecordError: A record cannot be read.
        TableError: A table cannot be read.
        MissingPackageError: jinja2 is not installed.
    """
    claims = read_claims()
    found = {recipe: held for recipe in names(RECIPES) if (held := effects(claims, recipe, root))}
    groups = {path.parent.name: command for path in sorted(root.glob("*@*/*@*.md")) if (command := _command(path.parent))}
    return template("claims.md.jinja", keep_trailing_newline=True, lstrip_blocks=True).render(
        overview={family: _overview([c for c in claims if c.family == family], found) for family in get_args(Family)},
        recipes={_title(recipe): (_tables(held), _inactive(held, recipe, root)) for recipe, held in found.items()},
        untested=[claim.claim for claim in claims if not any(e.claim == claim for held in found.values() for e in held)],
        groups=groups,
        power=f"{100 * POWER:g}%",
        margins=_margins([effect.score for held in found.values() for effect in held]),
        confidence=f"{100 * CONFIDENCE:g}%",
    )


def _overview(claims: list[Claim], found: dict[str, list[Effect]]) -> str:
    """Verdicts of claims (rows) on recipes (columns)."""
    found = {recipe: held for recipe, held in found.items() if any(effect.claim in claims for effect in held)}
    published = [_published(claim) for claim in claims]
    rows = []
    for claim, figures in zip(claims, published, strict=True):
        verdicts = [next((_mark(e) for e in held if e.claim == claim), "not run") for held in found.values()]
        rows.append([claim.claim, f"`{claim.table}`", *([figures] if any(published) else []), *verdicts])
    headings = [_heading(recipe, held) for recipe, held in found.items()]
    header = ["claim", "table", *(["paper, points"] if any(published) else []), *headings]
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True)


def _heading(recipe: str, held: list[Effect]) -> str:
    """Title of a recipe, with its primary score unless that is mIoU."""
    label = next((e.score.label for e in held if e.claim.score is None and e.score.name != "miou"), None)
    return _title(recipe) + (f" ({label})" if label else "")


def _margins(scores: list[Score]) -> str:
    """Margins of scores in words, such as `±1 for mIoU, boundary mIoU (in points); ±0.01 for AbsRel`."""
    labels: dict[tuple[float, str], list[str]] = {}
    for score in dict.fromkeys(scores):
        labels.setdefault((score.margin, score.difference_unit), []).append(score.label)
    return "; ".join(
        f"±{margin:g} for {', '.join(alike)}{f' (in {unit})' if unit else ''}" for (margin, unit), alike in labels.items()
    )


def _tables(held: list[Effect]) -> list[str]:
    """Effects on a recipe, one table per family."""
    families = ([effect for effect in held if effect.claim.family == family] for family in get_args(Family))
    return [_table(family) for family in families if family]


def _table(held: list[Effect]) -> str:
    rows = []
    for effect in held:
        test = effect.significance
        interval = "" if test is None else f"{_shown(effect.score, test.low)} to {_shown(effect.score, test.high)}"
        p = "" if test is None else "< 0.001" if test.adjusted_p < 0.0005 else f"{test.adjusted_p:.3f}"
        needed = "" if test is None else "> 1000" if effect.seeds_needed is None else effect.seeds_needed
        figures = (_shown(effect.score, effect.mean), interval, p, len(effect.values), needed)
        rows.append((effect.claim.claim, _cells(effect), *figures, effect.verdict))
    unit = "points" if all(effect.score.difference_unit == "points" for effect in held) else "improvement"
    header = ("claim", "difference", unit, "95% interval", "p", "seeds", "seeds needed", "verdict")
    right = ("left", "left", "right", "right", "right", "right", "right", "left")
    return tabulate(rows, header, tablefmt="pipe", colalign=right, disable_numparse=True)


def _inactive(held: list[Effect], recipe: str, root: Path) -> list[str]:
    """Sentences about runs in which a RefineNet block became inactive."""
    sentences = []
    for name in dict.fromkeys(effect.claim.table for effect in held):
        records = read_records(root, f"{name}@{recipe}")
        cells = list(read_table(find_table(name)).cells)
        runs = sorted((run for run in records if run[0] in cells), key=lambda run: (cells.index(run[0]), run[1]))
        sentences += [f"`{name}`: {sentence}" for sentence in inactive_blocks({run: records[run] for run in runs})]
    return sentences


def _command(group: Path) -> str:
    """Command that reproduces the runs of a group; empty if it has no records."""
    name, _, recipe = group.name.partition("@")
    table = read_table(find_table(name))
    records = read_records(group.parent, group.name)
    if not records:
        return ""
    seeds = max(seed for _, seed in records) + 1
    cells = [cell for cell in table.cells if cell in {cell for cell, _ in records}]
    some = f" --cells {' '.join(cells)}" if len(cells) < len(table.cells) else ""
    reference = table.reference_among(cells)
    some += f" --reference {reference}" if reference != table.reference else ""
    return f"refinenet ablate run {name} --on {recipe} --seeds {seeds}{some}"


def _mark(effect: Effect) -> str:
    bold = f"**{effect.verdict}**" if effect.verdict == "not supported" else effect.verdict
    return f"{bold} ({_shown(effect.score, effect.mean)})"


def _cells(effect: Effect) -> str:
    """Format a difference of two cells as `a` - `b`, and longer sums as their number of cells.

    If lower scores are better, the better cell of the claim is subtracted, so that an improvement is positive.
    """
    claim, score = effect.claim, effect.score
    signs = (1, -1) if score.higher_is_better else (-1, 1)
    more, less = ([cell for cell, weight in claim.effect.items() if weight * sign > 0] for sign in signs)
    text = f"`{more[0]}` {MINUS} `{less[0]}`" if len(more) == len(less) == 1 else f"{len(claim.effect)} cells, see the table"
    if claim.minus:
        return f"{text}, {score.label} {MINUS} {SCORES[claim.minus].label}"
    return text if score.name == "miou" else f"{text}, {score.label}"


def _published(claim: Claim) -> str:
    figures = claim.published(read_table(find_table(claim.table)))
    return ", ".join(f"{_shown(SCORES['miou'], figure)} {_title(recipe)}" for recipe, figure in figures.items())


def _shown(score: Score, difference: float) -> str:
    """Format a difference with its sign, and its unit except for points."""
    unit = "" if score.difference_unit == "points" else score.difference_unit
    return with_unit(score.format(difference, "+"), unit)


def _title(recipe: str) -> str:
    return _TITLES.get(recipe, recipe)
