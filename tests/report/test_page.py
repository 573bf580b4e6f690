"""The page of runs, in a real browser."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.repository import REPOSITORY, program
from helpers.tables import record
from playwright.sync_api import Page, sync_playwright

from refinenet_pl.ablation.tables import read_table
from refinenet_pl.callbacks.samples import Sample, write_samples
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.metrics.confusion import scores
from refinenet_pl.tracking.identity import RunId

COMMAND = [sys.executable, "-m", "refinenet_pl", "report"]
WIDTHS = {"desk": 1280, "phone": 390}
# Without these it calls home, or wants a display.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Three cells of a table of ten, three seeds, one of them failed; and a run of no table."""
    root = tmp_path_factory.mktemp("runs")
    table = read_table(REPOSITORY / "experiments/tables/chained_pooling.yaml")
    names, chance = list(Scenes.classes.names), np.random.default_rng(0)
    for place, cell in enumerate(("no_unit", "pool_conv_2", "pool_conv_4")):
        for seed in range(3):
            if (cell, seed) == ("pool_conv_2", 2):
                directory = RunId("scenes", table.name, cell, seed, str(root)).directory
                directory.mkdir(parents=True)
                (directory / "log.txt").write_text("RuntimeError: <b>no memory</b> & no time\n-- ended with exit code 1 --\n")
                continue
            confusion = chance.integers(0, 40, (11, 11)) + np.diag(chance.integers(100, 300 + 200 * place, 11))
            found = scores(confusion, names)
            val = {"miou": found.miou, "iou": found.iou | {"lamp": None}}
            curve = [{"epoch": epoch, "step": 10 * epoch, "miou": found.miou * (0.5 + epoch / 8)} for epoch in (1, 2, 3, 4)]
            training = {"epochs": 4, "steps": 40, "seconds": 60.0 + 10 * place}
            record(table, cell, seed, root, found.miou, evaluations={"val": val}, curve=curve, training=training,
                   network__parameters=3_000_000 + 100_000 * place, config__data__global_batch=8)  # fmt: skip
            image, mask = Scenes(split="val", size=64).read(seed)
            sample = Sample(f"val_{seed:05}", image, mask.astype(np.uint8), np.full((64, 64), place, np.uint8))
            write_samples(RunId("scenes", table.name, cell, seed, str(root)).directory / "samples", [sample], Scenes.classes)
    record(replace(table, name="single"), "pool_conv_4", 0, root, 0.5)
    return root


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    command = [*COMMAND, runs, "-o", file]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    assert "| 4 blocks, pooling first" in printed.stdout
    return file


@pytest.fixture(scope="module")
def browser():
    path = program("chromium", "chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request) -> str:
    return request.param


@pytest.fixture(params=WIDTHS)
def page(request, browser, made, scheme):
    """The page as it is opened; nothing may be fetched, and nothing may go wrong in its script."""
    opened = browser.new_page(viewport={"width": WIDTHS[request.param], "height": 900}, color_scheme=scheme)
    trouble: list[str] = []
    opened.on("console", lambda message: trouble.append(message.text))
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else trouble.append(asked.url))
    opened.goto(made.as_uri())
    yield opened
    opened.close()
    assert trouble == []


def column(page: Page, number: int, table: int = 0) -> list[str]:
    """What stands in a column of a table, from top to bottom."""
    cells = page.locator("table").nth(table).locator(f"tbody tr > :nth-child({number})").all_inner_texts()
    return [" ".join(cell.split()) for cell in cells]


def test_nothing_is_wider_than_the_screen(page):
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
    for picture in page.locator("svg").all():
        box = picture.bounding_box()
        assert box["width"] > 300 and box["x"] >= 0 and box["x"] + box["width"] <= page.viewport_size["width"]
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))"
    )
    assert smallest >= 9, "pixels that the charts' writing is high"


def test_everything_can_be_read(page):
    """Contrast of at least 4.5, as WCAG asks for text."""
    worst = page.evaluate("""() => {
        const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        const light = (colour) => {
            context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v / 255)
                .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (node) => {
            for (; node; node = node.parentElement) {
                const colour = getComputedStyle(node).backgroundColor;
                if (!/^rgba?\\(.*, 0\\)$/.test(colour)) return colour;
            }
        };
        return [...document.querySelectorAll("h1, h2, h3, p, td, th, button, a, li, figcaption")].map(node => {
            const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
            return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.className, node.textContent.trim().slice(0, 40)];
        }).sort((one, other) => one[0] - other[0])[0];
    }""")
    assert worst[0] >= 4.5, worst


def test_tables_are_sorted_by_their_headings(page):
    given = column(page, 2)
    miou = page.get_by_role("button", name="mIoU %").first
    miou.click()
    falling = [float(text.split()[0]) for text in column(page, 2) if text[0].isdigit()]
    assert len(falling) == 3 and falling == sorted(falling, reverse=True)
    assert column(page, 2)[3:] == ["missing"] * 7, "what is not there comes last"
    miou.press("Enter")
    assert [float(text.split()[0]) for text in column(page, 2) if text[0].isdigit()] == falling[::-1]
    assert column(page, 2)[3:] == ["missing"] * 7
    assert page.locator("table").first.locator("[aria-sort]").count() == 1
    page.get_by_role("button", name="network").first.click()
    assert column(page, 2) == given


def test_figures_are_those_of_the_table(page):
    assert column(page, 3)[0] == "3/3" and column(page, 3)[3] == "2/3 (1 failed)"
    assert column(page, 4)[5] == "reference" and column(page, 5)[0].split(",")[0] in ("yes", "not shown")
    assert "pool_conv_2-seed2 has failed (exit code 1: RuntimeError: <b>no memory</b> & no time)" in page.inner_text("body")
    assert column(page, 12, table=1) == ["–"] * 3, "lamp has no IoU"
    assert all(0 < float(text) < 100 for text in column(page, 2, table=1))
    assert [heading.inner_text() for heading in page.locator("h2").all()] == [
        "Chained residual pooling, number and order of its blocks: scenes", "Runs of single: scenes",
    ]  # fmt: skip
    assert [caption.inner_text() for caption in page.locator("#chained_pooling-scenes .charts figcaption").all()] == [
        "Difference to the reference, with 95 % confidence intervals", "mIoU against epoch: mean, and each seed",
        "Parameters against mIoU", "Speed of training against mIoU",
    ]  # fmt: skip


def test_sample_images_show_all_networks_beside_the_ground_truth(page):
    row = page.locator(".samples").first
    assert row.locator("figcaption").all_inner_texts() == [
        "image", "ground truth", "no chained pooling, no ReLU", "2 blocks, pooling first", "4 blocks, pooling first",
    ]  # fmt: skip
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 64)")
    seen = page.evaluate("""() => {
        const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        return [...document.querySelectorAll(".samples img")].slice(2, 5).map(image => {
            context.drawImage(image, 0, 0);
            return [...context.getImageData(5, 5, 1, 1).data].slice(0, 3);
        });
    }""")
    assert seen == [list(Scenes.classes.palette[index]) for index in range(3)], "each network's own prediction"
    assert {"sky", "void"} <= {text.strip() for text in page.locator("ul.legend").nth(1).locator("li").all_inner_texts()}


def test_page_stands_alone(made):
    text = made.read_text()
    assert not re.search(r"""(src|href|url\()\s*=?\s*["']?(https?:)?//""", text)
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names)) > 50


def test_page_that_cannot_be_written_is_named(runs, tmp_path):
    command = [*COMMAND, runs, "-o", tmp_path]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert printed.returncode == 2 and "Traceback" not in printed.stderr
    assert f"error: {tmp_path}: Is a directory; make room or give permission to write" in printed.stderr


def test_directory_without_runs_is_named(tmp_path):
    command = [*COMMAND, tmp_path, "-o", tmp_path / "report.html"]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert printed.returncode == 2 and not (tmp_path / "report.html").exists()
    assert f"error: {tmp_path}: no runs there; it must hold directories named TABLE@RECIPE" in printed.stderr
