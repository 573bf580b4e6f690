"""The page of claims: experiments/results/README.md, from the records beside it."""

from pathlib import Path
from typing import get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tabulate import tabulate

from refinenet_pl.ablation.claims import Claim, Effect, Family, effects, read_claims
from refinenet_pl.ablation.records import build_report, find_seeds, runs_of
from refinenet_pl.ablation.rendering import MINUS
from refinenet_pl.ablation.significance import CONFIDENCE
from refinenet_pl.ablation.silence import silent_blocks
from refinenet_pl.ablation.tables import read_table
from refinenet_pl.catalog import RECIPES, find_table

TEMPLATE = "README.md.jinja"
_TITLES = {
    "scenes": "Scenes",
    "camvid": "CamVid",
    "camvid_half": "CamVid at half its size",
    "camvid_paper_width": "The same, 256 and 512 channels",
    "nyudv2": "NYUDv2",
    "person_part": "Person-Part",
}


def page(root: Path) -> str:
    """The page as Markdown.

    Args:
        root: Directory of the kept runs.
    """
    claims, margin = read_claims()
    found = {}
    for recipe in sorted(path.stem for path in RECIPES.glob("*.yaml")):
        if held := effects(claims, margin, recipe, root):
            found[recipe] = held
    groups = {path.parent.name: _command(path.parent) for path in sorted(root.glob("*/*@*.md"))}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, keep_trailing_newline=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(TEMPLATE).render(
        overview={family: _overview([c for c in claims if c.family == family], found) for family in get_args(Family)},
        recipes={_title(recipe): (_tables(held), _silent(held, recipe, root)) for recipe, held in found.items()},
        undecided=[claim.claim for claim in claims if not any(e.claim == claim for held in found.values() for e in held)],
        groups=groups,
        margin=f"{margin:g}",
        confidence=f"{100 * CONFIDENCE:g} %",
    )


def _overview(claims: list[Claim], found: dict[str, list[Effect]]) -> str:
    """A row for each claim, a verdict for each data set."""
    found = {recipe: held for recipe, held in found.items() if any(effect.claim in claims for effect in held)}
    rows = []
    for claim in claims:
        verdicts = [next((_mark(e) for e in held if e.claim == claim), "not run") for held in found.values()]
        rows.append((claim.claim, f"`{claim.table}`", _published(claim), *verdicts))
    paper = "paper, points"
    header = ("claim", "table", paper, *map(_title, found))
    if not any(row[2] for row in rows):
        header, rows = [h for h in header if h != paper], [(*row[:2], *row[3:]) for row in rows]
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True)


def _tables(held: list[Effect]) -> list[str]:
    """A recipe's effects, a table for each family that it has any of."""
    families = ([effect for effect in held if effect.claim.family == family] for family in get_args(Family))
    return [_table(family) for family in families if family]


def _table(held: list[Effect]) -> str:
    rows = []
    for effect in held:
        test = effect.significance
        interval = "" if test is None else f"{_points(test.low)} to {_points(test.high)}"
        p = "" if test is None else "< 0.001" if test.adjusted_p < 0.0005 else f"{test.adjusted_p:.3f}"
        figures = (_points(effect.mean), interval, p, len(effect.values))
        rows.append((effect.claim.claim, _cells(effect.claim), *figures, effect.verdict))
    header = ("claim", "difference of", "points", "95 % interval", "p", "seeds", "verdict")
    right = ("left", "left", "right", "right", "right", "right", "left")
    return tabulate(rows, header, tablefmt="pipe", colalign=right, disable_numparse=True)


def _silent(held: list[Effect], recipe: str, root: Path) -> list[str]:
    """Sentences on the runs in which a RefineNet block fell silent."""
    sentences = []
    for name in dict.fromkeys(effect.claim.table for effect in held):
        table = read_table(find_table(name))
        report = build_report(table, recipe, str(root), find_seeds(table, recipe, str(root)))
        sentences += [f"`{name}`: {sentence}" for sentence in silent_blocks(runs_of(report.rows))]
    return sentences


def _command(group: Path) -> str:
    """The command that makes a group's runs anew: the cells and seeds that have records."""
    name, _, recipe = group.name.partition("@")
    table = read_table(find_table(name))
    seeds = find_seeds(table, recipe, str(group.parent))
    cells = [cell for cell in table.cells if list(group.glob(f"{cell}/seed*/results.json"))]
    some = f" --cells {' '.join(cells)}" if len(cells) < len(table.cells) else ""
    reference = table.reference_among(cells)
    some += f" --reference {reference}" if reference != table.reference else ""
    return f"python experiments/ablate.py run {name} --on {recipe} --seeds {seeds[-1] + 1}{some}"


def _mark(effect: Effect) -> str:
    bold = f"**{effect.verdict}**" if effect.verdict == "not supported" else effect.verdict
    return f"{bold} ({_points(effect.mean)})"


def _cells(claim: Claim) -> str:
    """`a` - `b`, or what a longer sum is."""
    more, less = ([cell for cell, weight in claim.effect.items() if weight * sign > 0] for sign in (1, -1))
    text = f"`{more[0]}` {MINUS} `{less[0]}`" if len(more) == len(less) == 1 else f"{len(claim.effect)} cells, see claims.yaml"
    what = {"miou": "", "boundary_miou": ", boundary mIoU"}[claim.score]
    return f"{text}{what}" + (f" {MINUS} mIoU" if claim.minus else "")


def _published(claim: Claim) -> str:
    figures = claim.published(read_table(find_table(claim.table)))
    return ", ".join(f"{_points(figure)} {_title(recipe)}" for recipe, figure in figures.items())


def _points(value: float) -> str:
    return f"{value:+z.1f}".replace("-", MINUS)


def _title(recipe: str) -> str:
    return _TITLES.get(recipe, recipe)
