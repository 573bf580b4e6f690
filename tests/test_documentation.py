"""Commands and code of README and docs, generated parts of the pages, and the site."""

import importlib
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb.cli.cli
from helpers import annotation_files
from helpers.layouts import camvid, channels, folder, nyudv2, voc2012
from helpers.layouts.files import write_image, write_photo
from helpers.networks import tiny
from helpers.published.weights import state_dict
from helpers.repository import REPOSITORY, program

from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.cli import ablate_options
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.registry import find_dataset

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Programs whose commands cannot run here: they download, install, need a cluster or are servers.
NOT_RUN = {"git", "cd", "pip", "source", "code=$?", "exit", "if", "tensorboard", "mlflow", "export"}
NARROW = [
    "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1",
    "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1",
    "--trainer.enable_progress_bar=false", "--data.num_workers=0", "--data.global_batch=1", "--data.crop_size=[64, 64]",
    "--track=none",
]  # fmt: skip
NETWORK = "--model.network.init_args."
SMALL = [f"{NETWORK}width=8", f"{NETWORK}deepest_width=8"]
PUBLISHED = [f"{NETWORK}encoder_name=resnet18", f"{NETWORK}encoder_weights=null"]


def commands(page: Path) -> list[str]:
    """Shell commands of a page, with continued lines joined and comments removed."""
    blocks = (text.replace("\\\n", " ") for language, text in BLOCK.findall(page.read_text()) if language in ("", "bash"))
    lines = [line.strip() for text in blocks if is_shell(text) for line in text.splitlines()]
    return [part for line in lines if line and not line.startswith("#") for part in line.split(" && ")]


def is_shell(text: str) -> bool:
    """Distinguish commands from trees of folders and diagrams."""
    return not re.match(r"data/|refinenet_pl/|cli >", text.strip())


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    """A directory with images and a model directory."""
    monkeypatch.chdir(tmp_path)
    for name in "photos/one", "photos/more/two", "VOC2012/JPEGImages/2008_000001":
        write_photo(tmp_path / f"{name}.jpg", (64, 96))
    classes = find_dataset("voc2012").classes
    write_model_directory(tmp_path / "models/NAME", tiny(classes=len(classes)), classes)
    return tmp_path


@pytest.fixture
def work(model) -> Path:
    """A directory with all files that the commands name: also datasets and a published checkpoint."""
    tmp_path = model
    camvid.build(tmp_path / "data/camvid")
    folder.build(tmp_path / "data/folder")
    voc2012.build(tmp_path / "data/voc2012")
    nyudv2.build(tmp_path / "data/nyudv2")
    nyudv2.write_labeled(tmp_path / "data/nyudv2/nyu_depth_v2_labeled.mat", 480, 640)
    channels.build(tmp_path / "data/gray")
    for split in "train", "val":
        value_files(tmp_path / "data/depth", split)
        label_files(tmp_path / "data/labels", split)
    annotation_files.yolo(tmp_path / "yolo")
    for split, stems in ("train", "abcd"), ("val", "e"):
        annotation_files.coco(tmp_path, stems).rename(tmp_path / f"annotations/{split}.json")
    (tmp_path / "test.txt").write_text("2008_000001\n")
    torch.save(state_dict("lightweight_refinenet50"), tmp_path / "CHECKPOINT")
    return tmp_path


def value_files(root: Path, split: str) -> None:
    """Write an image with depths in millimeters, and the page's `values.yaml`."""
    write_photo(root / "images" / split / f"{split}.jpg", (48, 64))
    write_image(root / "targets" / split / f"{split}.png", np.full((48, 64), 1500, np.uint16))
    (root / "values.yaml").write_text(yaml_of_values("kind: depth"))


def label_files(root: Path, split: str) -> None:
    """Write an image with two masks, and the page's `values.yaml` of labels."""
    write_photo(root / "images" / split / f"{split}.jpg", (48, 64))
    for name, rows in ("road", 20), ("wet", 10):
        mask = np.zeros((48, 64), np.uint8)
        mask[:rows] = 255
        write_image(root / "targets" / split / name / f"{split}.png", mask)
    (root / "values.yaml").write_text(yaml_of_values("kind: labels"))


def yaml_of_values(start: str) -> str:
    blocks = [text for language, text in BLOCK.findall((DOCS / "values.md").read_text()) if language == "yaml"]
    return next(text for text in blocks if text.startswith(start))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands(page, work):
    for line in commands(page):
        words = shlex.split(line.split(" > ")[0], comments=True)
        if words[0] not in NOT_RUN:
            run(words)


def run(words: list[str]) -> None:
    """Run a command, with training reduced to a step; of commands that need a cluster or a server, check the options."""
    program_, *arguments = words
    if program_ in ("torchrun", "srun"):
        name = "refinenet_pl" if "refinenet_pl" in words else "refinenet"
        run(["refinenet", *words[words.index(name) + 1 :], f"--run.root={tempfile.mkdtemp(dir='.')}"])
    elif program_ == "make":
        assert re.search(rf"^{arguments[0]}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    elif program_ == "wandb":
        assert arguments[0] in wandb.cli.cli.cli.commands
    elif words[:2] == ["python", "-m"]:
        with pytest.raises(SystemExit, match="^0$"):
            importlib.import_module(arguments[1]).main(["--help"])
    else:
        assert program_ == "refinenet", f"no rule for {words}"
        run_refinenet(arguments)


def run_refinenet(arguments: list[str]) -> None:
    command = arguments[0]
    if command in ("fit", "validate", "test"):
        if command != "fit" and "--ckpt_path" not in arguments:
            finish(narrowed(["fit", *arguments[1:3]]))  # a finished run exits
        finish(narrowed(arguments))
    elif command == "ablate":
        ablate_options.parse(arguments[1:])
        if arguments[1] in ("list", "sweep", "commands"):
            finish(arguments)
    elif command in ("report", "claims", "export") or (command == "wandb" and "--dry_run" not in arguments):
        # They need finished tables, minutes, or a server.
        finish([*arguments, "--help"])
    elif command == "import" and Path("models/NAME").exists():
        finish([*arguments[:-1], "models/imported"])
    elif command == "predict":
        finish([*arguments, "--overwrite"])
    else:
        finish(arguments, allowed=(0, 1) if arguments[:3] == ["data", "check", "nyudv2"] else (0,))  # its splits are incomplete


def narrowed(arguments: list[str]) -> list[str]:
    """Reduce a training or an evaluation to a step of a small network."""
    if "--print_config" in arguments or "--ckpt_path" in arguments:
        return arguments + ([*NARROW[:2], *NARROW[4:-4], "--track=none"] if "--ckpt_path" in arguments else [])
    recipe = arguments[arguments.index("-c") + 1]
    baseline = any("baselines" in word for word in arguments)
    more = [] if baseline or "--init_network" in arguments else [*SMALL]
    more += PUBLISHED if recipe in ("voc2012", "nyudv2") else []
    more += ['--data.dataset_options={"size": 64, "samples": 4}'] if recipe.startswith("scenes") else []
    if "--data.dataset" in arguments:  # a dataset class of the user
        arguments = arguments[: arguments.index("--data.dataset")]
    return [*arguments, *NARROW, *more]


def finish(arguments: list[str], allowed: tuple[int, ...] = (0,)) -> None:
    """Run a command that may exit."""
    try:
        main(arguments)
    except SystemExit as exit_:
        assert (exit_.code or 0) in allowed, (arguments, exit_.code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.usefixtures("model")
def test_code(page):
    for language, text in BLOCK.findall(page.read_text()):
        if language == "python":
            exec(text.replace("max_epochs=1", 'fast_dev_run=1, accelerator="cpu"').replace('"resnet50"', '"resnet18"'), {})


def test_own_data_page_describes_classes_file(tmp_path):
    text = next(text for language, text in BLOCK.findall((DOCS / "your_data.md").read_text()) if language == "yaml")
    folder.build(tmp_path)
    (tmp_path / "classes.yaml").write_text(text)
    classes = find_dataset("folder").classes_of(tmp_path)
    assert classes.names == ("background", "cat", "dog") and classes.palette[1] == (200, 80, 60)


def test_generated_parts_are_current():
    command = [sys.executable, "-m", "cogapp", "--check", "--diff", "-P", "-I", ".", "-p", "from docs import speed, tables"]
    result = subprocess.run([*command, *map(str, PAGES)], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, f"run `make pages`\n{result.stdout}{result.stderr}"


def test_readme_is_short():
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.splitlines()) <= 220 and len(text.encode()) <= 12 * 1024


@pytest.mark.parametrize("page", [*PAGES, *REPOSITORY.glob("*.md"), *REPOSITORY.glob("experiments/results/*.md")], ids=str)
def test_links_resolve_in_the_repository(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return target


@pytest.mark.slow
def test_site_is_complete_and_requests_nothing_from_outside(site):
    from playwright.sync_api import sync_playwright

    chromium = program("chromium", "chromium")
    pages = sorted(site.rglob("index.html"))
    assert len(pages) > 20
    outside: set[str] = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--allow-file-access-from-files"])
        for width, scheme in (1280, "light"), (390, "dark"):
            opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            opened.on("request", lambda request: request.url.startswith("http") and outside.add(request.url))
            for page in pages:
                opened.goto(page.as_uri(), wait_until="load")
                images = opened.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
                assert images == [], page
                assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), (page, width)
        browser.close()
    assert outside == set()
