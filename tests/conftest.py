"""Fixtures of all tests."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers.forked import start_server
from helpers.repository import REPOSITORY
from helpers.tables import TABLE

# pytest-xdist already uses all cores, with one worker each.
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option for a part of the tests."""
    parser.addoption("--part", metavar="K/N", default="1/1", help="run every N-th of the selected tests, from the K-th on")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the server that forks commands, except in the process that only distributes the tests."""
    if not session.config.getoption("numprocesses", None):
        start_server()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Mark the notebooks, which nbmake collects, as slow, and keep a part of the tests that `-m` and `-k` select."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.slow)
    yield
    first, parts = map(int, config.getoption("part").split("/"))
    kept = items[first - 1 :: parts]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


@pytest.fixture(autouse=True)
def seeded():
    """Seed torch, so that random weights are equal each time."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def settings_of_torch() -> Iterator[None]:
    """Undo what `Trainer(deterministic=True)` sets for the whole process, which changes results of later tests."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False


@pytest.fixture(autouse=True)
def wandb_disabled(monkeypatch):
    """Disable W&B; its own tests enable it again."""
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture
def in_repository(monkeypatch):
    """Run the test in the repository's root, where recipes are found by name."""
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture(scope="session")
def camvid_root() -> Path:
    """The real CamVid, from the environment variable CAMVID_ROOT or from data/camvid."""
    root = Path(os.environ.get("CAMVID_ROOT", REPOSITORY / "data" / "camvid"))
    if not (root / "train.txt").is_file():
        pytest.skip(f"no CamVid at {root}; set CAMVID_ROOT to its folder")
    return root


@pytest.fixture(scope="session")
def official_root() -> Path:
    """A few official files of several datasets, from the environment variable OFFICIAL_ROOT or next to the repository."""
    root = Path(os.environ.get("OFFICIAL_ROOT", REPOSITORY.parent / "shared" / "data" / "official"))
    if not root.is_dir():
        pytest.skip(f"no official files at {root}; set OFFICIAL_ROOT to their folder")
    return root


@pytest.fixture
def table_file(tmp_path) -> Path:
    """A table of three cells."""
    path = tmp_path / "mine.yaml"
    path.write_text(TABLE)
    return path


@pytest.fixture
def mount_disk() -> Iterator[Callable[[Path, str], None]]:
    """Function that mounts a disk of some size at a directory, or resizes it; without permission, the test is skipped."""
    mounted: set[Path] = set()

    def mount(directory: Path, size: str) -> None:
        options = f"remount,size={size}" if directory in mounted else f"size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"a small disk cannot be mounted: {result.stderr.strip()}")
        mounted.add(directory)

    yield mount
    for directory in mounted:
        subprocess.run(["umount", "--lazy", directory], check=True)
