"""Conversion cache: each PNG is created once and completely, also after kills and in parallel."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.repository import REPOSITORY
from PIL import Image

from refinenet_pl.datasets.cache import FEW, Conversion, convert
from refinenet_pl.errors import DataError

SEVERAL = 3 * FEW  # enough for several processes


def paint(source: Path, number: int, log: Path, delay: float) -> np.ndarray:
    """A constant image; appends its number and the process to a log, after a delay in seconds."""
    time.sleep(delay)
    with open(log, "a") as file:
        file.write(f"{number} {os.getpid()}\n")
    return np.full((40, 50), number, np.uint8)


def paint_except_seven(error: Exception, source: Path, number: int, *arguments) -> np.ndarray:
    if number == 7:
        raise error
    return paint(source, number, *arguments)


def plan(folder: Path, number: int, delay: float = 0) -> list[Conversion]:
    """Conversions of FOLDER/source into FOLDER/made, logged in FOLDER/log."""
    source = folder / "source"
    if not source.exists():
        source.touch()
    return [Conversion(folder / f"made/{n}.png", (source,), (n, folder / "log", delay)) for n in range(number)]


def logged(folder: Path, column: int = 0) -> list[int]:
    """The numbers (column 0) or processes (column 1) in the log."""
    lines = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
    return [int(line.split()[column]) for line in lines]


def made_in(folder: Path) -> list[int]:
    """The numbers of the PNGs, each of which must be complete."""
    numbers = []
    for path in (folder / "made").glob("*.png"):
        with Image.open(path) as image:
            assert np.array_equal(np.array(image), np.full((40, 50), int(path.stem), np.uint8))
        numbers.append(int(path.stem))
    return sorted(numbers)


def start(folder: Path, number: int, delay: float) -> subprocess.Popen:
    """Convert in a separate process, which leads a process group."""
    code = f"import test_cache as t; t.convert(t.plan(t.Path({str(folder)!r}), {number}, {delay}), t.paint, 'test')"
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}:{Path(__file__).parent}"}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True, **streams)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [1, FEW, FEW + 1, SEVERAL])
def test_every_image_is_created_once(tmp_path, number):
    convert(plan(tmp_path, number), paint, "test")
    assert made_in(tmp_path) == sorted(logged(tmp_path)) == list(range(number))
    assert {path.name for path in (tmp_path / "made").iterdir()} == {f"{n}.png" for n in range(number)} | {".lock"}
    # This process converts a few images, others convert many.
    assert (os.getpid() in logged(tmp_path, column=1)) == (number <= FEW)


def test_existing_images_are_kept(tmp_path):
    convert(plan(tmp_path, 5), paint, "test")
    convert(plan(tmp_path, 5), paint, "test")
    assert len(logged(tmp_path)) == 5
    (tmp_path / "made/3.png").unlink()
    convert(plan(tmp_path, SEVERAL), paint, "test")
    assert sorted(logged(tmp_path)) == sorted([3, *range(SEVERAL)])


def test_complete_cache_needs_no_lock(tmp_path):
    """It can be on a read-only disk."""
    convert(plan(tmp_path, 3), paint, "test")
    (tmp_path / "made/.lock").unlink()
    (tmp_path / "made/.lock").mkdir()
    convert(plan(tmp_path, 3), paint, "test")
    assert len(logged(tmp_path)) == 3


def test_newer_source_is_converted_again(tmp_path):
    plans, other = plan(tmp_path, 4), tmp_path / "other"
    other.touch()
    plans[2] = plans[2]._replace(sources=(plans[2].sources[0], other))
    convert(plans, paint, "test")
    os.utime(other, (time.time() + 100, time.time() + 100))
    (tmp_path / "log").unlink()
    convert(plans, paint, "test")
    assert logged(tmp_path) == [2]


def test_resumes_after_a_kill(tmp_path):
    process = start(tmp_path, SEVERAL, delay=0.05)
    wait_for(lambda: len(logged(tmp_path)) >= 10)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = made_in(tmp_path)
    assert 0 < len(before) < SEVERAL
    # Left by a process that is killed while it writes.
    (tmp_path / "made/.9.png.123").write_bytes(b"\x89PNG half of it")
    count = len(logged(tmp_path))
    convert(plan(tmp_path, SEVERAL), paint, "test")
    assert made_in(tmp_path) == list(range(SEVERAL))
    assert sorted(logged(tmp_path)[count:]) == sorted(set(range(SEVERAL)) - set(before))


def test_two_processes_convert_each_image_once(tmp_path):
    processes = [start(tmp_path, SEVERAL, delay=0.01) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert made_in(tmp_path) == list(range(SEVERAL))
    assert set(Counter(logged(tmp_path)).values()) == {1}


def test_second_process_waits(tmp_path):
    first = start(tmp_path, 8, delay=0.2)
    wait_for(lambda: logged(tmp_path))
    convert(plan(tmp_path, 8), paint, "test")
    assert made_in(tmp_path) == list(range(8)) and sorted(logged(tmp_path)) == list(range(8))
    assert os.getpid() not in logged(tmp_path, column=1)
    first.communicate(timeout=60)
    assert first.returncode == 0


@pytest.mark.parametrize("number", [8, SEVERAL])
@pytest.mark.parametrize("error", [DataError("source 7 is damaged"), ZeroDivisionError("a bug")])
def test_errors_are_raised_and_the_rest_is_converted_later(tmp_path, number, error):
    with pytest.raises(type(error), match=str(error)):
        convert(plan(tmp_path, number), partial(paint_except_seven, error), "test")
    assert 7 not in made_in(tmp_path)
    assert not [path for path in (tmp_path / "made").iterdir() if path.name not in (".lock", f"{path.stem}.png")]
    convert(plan(tmp_path, number), paint, "test")
    assert made_in(tmp_path) == list(range(number)) and set(Counter(logged(tmp_path)).values()) == {1}


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "made").touch()
    with pytest.raises(DataError, match=f"{tmp_path / 'made'}: .*cannot be written"):
        convert(plan(tmp_path, 2), paint, "test")
    assert logged(tmp_path) == []


@pytest.mark.parametrize("number", [2, SEVERAL])
def test_image_that_cannot_be_written(tmp_path, number):
    plans = plan(tmp_path, number)
    # An old folder with the name of a PNG: the PNG is created and cannot replace it.
    (tmp_path / "made/1.png/inside").mkdir(parents=True)
    os.utime(tmp_path / "made/1.png", (1, 1))
    with pytest.raises(DataError, match="cannot be written"):
        convert(plans, paint, "test")
    assert not list((tmp_path / "made").glob(".1.png*"))
