"""The HTML report in a browser."""

import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers.repository import program
from helpers.running import run
from helpers.tables import depth_records, record
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from refinenet_pl.ablation.tables import read_table
from refinenet_pl.callbacks.sample_files import write_samples
from refinenet_pl.catalog import find_table
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.metrics.confusion import scores
from refinenet_pl.tracking.identity import RunId
from refinenet_pl.visualization.sample import MaskSample, ValueSample

pytestmark = pytest.mark.slow

# Without these, Chromium connects to its vendor and requires a display.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
# Returns the lowest contrast of text, with its element.
CONTRAST = """() => {
    const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const luminance = (color) => {
        context.clearRect(0, 0, 1, 1); context.fillStyle = color; context.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const background = (node) => {
        for (; node; node = node.parentElement) {
            const color = getComputedStyle(node).backgroundColor;
            if (!/^rgba?\\(.*, 0\\)$/.test(color)) return color;
        }
    };
    return [...document.querySelectorAll("h1, h2, h3, p, td, th, button, a, li, figcaption")].map(node => {
        const [a, b] = [luminance(getComputedStyle(node).color), luminance(background(node))];
        return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.className, node.textContent.trim().slice(0, 40)];
    }).sort((one, other) => one[0] - other[0])[0];
}"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Three of ten cells with three seeds, one of which failed, a run without a table, and two depth networks."""
    root = tmp_path_factory.mktemp("runs")
    table = read_table(find_table("chained_pooling"))
    names, chance = list(Scenes.classes.names), np.random.default_rng(0)
    for place, cell in enumerate(("no_unit", "pool_conv_2", "pool_conv_4")):
        for seed in range(3):
            directory = RunId("scenes", table.name, cell, seed, str(root)).directory
            if (cell, seed) == ("pool_conv_2", 2):
                directory.mkdir(parents=True)
                (directory / "log.txt").write_text("RuntimeError: <b>no memory</b> & no time\n-- ended with exit code 1 --\n")
                continue
            confusion = chance.integers(0, 40, (11, 11)) + np.diag(chance.integers(100, 300 + 200 * place, 11))
            found = scores(confusion, names)
            val = {"miou": found.miou, "iou": found.iou | {"lamp": None}}
            curve = [{"epoch": epoch, "step": 10 * epoch, "miou": found.miou * (0.5 + epoch / 8)} for epoch in (1, 2, 3, 4)]
            record(table, cell, seed, root, found.miou, evaluations={"val": val}, curve=curve, config__data__global_batch=8)
            image, mask = Scenes(split="val", size=64).read(seed)
            mask, prediction = mask.astype(np.uint8), np.full((64, 64), place, np.uint8)
            sample = MaskSample(f"val_{seed:05}", image, mask, prediction, Scenes.classes)
            write_samples(directory / "samples", [sample])
    record(replace(table, name="single"), "pool_conv_4", 0, root, 0.5)
    depth_records(replace(table, name="values"), root, no_unit=[0.20, 0.22], pool_conv_4=[0.17, 0.18])
    for cell in ("no_unit", "pool_conv_4"):
        colored = np.full((80, 64, 3), 90, np.uint8)
        samples = RunId("scenes_depth", "values", cell, 0, str(root)).directory / "samples"
        write_samples(samples, [ValueSample("val_00000", image, colored, colored, colored)])
    return root


@pytest.fixture(scope="module")
def report(runs) -> Path:
    file = runs / "report.html"
    assert "| 4 blocks, pooling first" in run("report", str(runs), "-o", str(file))
    return file


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program("chromium", "chromium"), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")], ids=str)
def page(request, browser, report):
    """The open page, which must neither fetch anything nor report errors."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else trouble.append(asked.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert trouble == []


def column(page: Page, number: int, table: int = 0) -> list[str]:
    """Texts in a column of a table, from top to bottom."""
    cells = page.locator("table").nth(table).locator(f"tbody tr > :nth-child({number})").all_inner_texts()
    return [" ".join(cell.split()) for cell in cells]


def test_layout_and_contrast(page):
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for chart in page.locator("svg").all():
        box = chart.bounding_box()
        assert box["width"] > 300 and box["x"] >= 0 and box["x"] + box["width"] <= width
    heights = page.evaluate("[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height)")
    assert min(heights) >= 9
    worst = page.evaluate(CONTRAST)
    assert worst[0] >= 4.5, f"WCAG requires a contrast of 4.5: {worst}"


def test_sorting(page):
    given = column(page, 2)
    miou = page.get_by_role("button", name="mIoU %").first
    for trigger, sign in (miou.click, -1), (lambda: miou.press("Enter"), 1):
        trigger()
        found = [float(text.split()[0]) for text in column(page, 2)[:3]]
        assert found == sorted(found, key=lambda value: sign * value)
        assert column(page, 2)[3:] == ["missing"] * 7
    assert page.locator("table").first.locator("[aria-sort]").count() == 1
    page.get_by_role("button", name="network").first.click()
    assert column(page, 2) == given


def test_figures(page):
    assert column(page, 3)[0] == "3/3" and column(page, 3)[3] == "2/3 (1 failed)"
    assert column(page, 4)[5] == "reference" and column(page, 5)[0].split(",")[0] in ("yes", "no")
    assert "pool_conv_2-seed2 failed (exit code 1: RuntimeError: <b>no memory</b> & no time)" in page.inner_text("body")
    assert column(page, 12, table=1) == ["–"] * 3  # IoU of the class lamp
    assert all(0 < float(text) < 100 for text in column(page, 2, table=1))
    assert page.locator("h2").all_inner_texts()[1] == "Runs of single: scenes"
    assert page.locator("#chained_pooling-scenes .charts svg").count() == 4


def test_sample_images(page):
    assert page.locator(".samples").first.locator("figcaption").all_inner_texts() == [
        "image", "ground truth", "no chained pooling, no ReLU", "2 blocks, pooling first", "4 blocks, pooling first",
    ]  # fmt: skip
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 64)")
    files = [image.get_attribute("src").split(",")[1] for image in page.locator(".samples img").all()[2:5]]
    assert [Image.open(BytesIO(b64decode(file))).getpixel((5, 5)) for file in files] == [0, 1, 2]
    assert {"sky", "void"} <= {text.strip() for text in page.locator("ul.legend").nth(1).locator("li").all_inner_texts()}


def test_page_is_self_contained(report):
    text = report.read_text()
    assert not re.search(r"""(src|href|url\()\s*=?\s*["']?(https?:)?//""", text)
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names)) > 50


def test_errors(runs, tmp_path):
    assert f"error: {tmp_path}: Is a directory" in run("report", str(runs), "-o", str(tmp_path), code=2)
    assert f"error: {tmp_path}: no runs" in run("report", str(tmp_path), "-o", f"{tmp_path}/report.html", code=2)
    assert not (tmp_path / "report.html").exists()
