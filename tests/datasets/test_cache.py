"""Conversion of slow files to PNGs: each made once and whole, whatever happens meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.repository import REPOSITORY
from PIL import Image

from refinenet_pl.datasets.cache import FEW, Conversion, cache_folder, convert
from refinenet_pl.errors import DataError

SEVERAL = 3 * FEW  # enough for several processes


def paint(source: Path, number: int, log: Path, rest: float) -> np.ndarray:
    """An image that depends on a number only; appends that number to a log, after a rest of some seconds."""
    time.sleep(rest)
    with open(log, "a") as file:
        file.write(f"{number} {os.getpid()}\n")
    return np.full((40, 50), number, np.uint8)


def paint_colours(*arguments) -> np.ndarray:
    return np.repeat(paint(*arguments)[..., None], 3, axis=2)


def refuse_seven(source: Path, number: int, *arguments) -> np.ndarray:
    if number == 7:
        raise DataError("source 7 is damaged; copy it anew")
    return paint(source, number, *arguments)


def fail_at_seven(source: Path, number: int, *arguments) -> np.ndarray:
    if number == 7:
        raise ZeroDivisionError("a mistake in the code")
    return paint(source, number, *arguments)


def plan(folder: Path, number: int, rest: float = 0) -> list[Conversion]:
    """Conversions of FOLDER/source into FOLDER/made, logged in FOLDER/log."""
    source = folder / "source"
    if not source.exists():
        source.touch()
    return [Conversion(folder / f"made/{n}.png", (source,), (n, folder / "log", rest)) for n in range(number)]


def log_of(folder: Path) -> list[int]:
    """The numbers painted, in the order of painting."""
    return [int(line.split()[0]) for line in (folder / "log").read_text().splitlines()] if (folder / "log").exists() else []


def painters_of(folder: Path) -> set[int]:
    return {int(line.split()[1]) for line in (folder / "log").read_text().splitlines()}


def made_of(folder: Path) -> list[int]:
    """The numbers of the PNGs there, each of which must be whole."""
    numbers = []
    for path in (folder / "made").glob("*.png"):
        with Image.open(path) as picture:
            assert np.array_equal(np.array(picture), np.full((40, 50), int(path.stem), np.uint8))
        numbers.append(int(path.stem))
    return sorted(numbers)


def start(folder: Path, number: int, rest: float) -> subprocess.Popen:
    """Convert in a process of its own, which leads a process group."""
    code = f"import test_cache as t; t.convert(t.plan(t.Path({str(folder)!r}), {number}, {rest}), t.paint, 'test')"
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [1, FEW, FEW + 1, SEVERAL])
def test_every_picture_is_made_once_and_is_whole(tmp_path, number):
    convert(plan(tmp_path, number), paint, "test")
    assert made_of(tmp_path) == sorted(log_of(tmp_path)) == list(range(number))
    # A few are made by this process, more by others.
    assert (os.getpid() in painters_of(tmp_path)) == (number <= FEW)


def test_nothing_else_is_left_in_the_folder(tmp_path):
    convert(plan(tmp_path, SEVERAL), paint, "test")
    assert {path.name for path in (tmp_path / "made").iterdir()} == {f"{n}.png" for n in range(SEVERAL)} | {".lock"}


def test_colour_pictures(tmp_path):
    convert(plan(tmp_path, 2), paint_colours, "test")
    with Image.open(tmp_path / "made/1.png") as picture:
        assert picture.mode == "RGB" and np.array_equal(np.array(picture), np.full((40, 50, 3), 1))


def test_what_is_there_is_not_made_again(tmp_path):
    convert(plan(tmp_path, 5), paint, "test")
    convert(plan(tmp_path, 5), paint, "test")
    assert len(log_of(tmp_path)) == 5
    (tmp_path / "made/3.png").unlink()
    convert(plan(tmp_path, SEVERAL), paint, "test")
    assert sorted(log_of(tmp_path)) == sorted([3, *range(SEVERAL)])


def test_what_is_all_there_can_be_read_from_where_nothing_can_be_written(tmp_path):
    convert(plan(tmp_path, 3), paint, "test")
    (tmp_path / "made/.lock").unlink()
    (tmp_path / "made/.lock").mkdir()  # taking the lock would fail now
    convert(plan(tmp_path, 3), paint, "test")
    assert len(log_of(tmp_path)) == 3


def test_source_that_became_younger_is_converted_again(tmp_path):
    plans = plan(tmp_path, 4)
    other = tmp_path / "other"
    other.touch()
    plans[2] = plans[2]._replace(sources=(other,))
    convert(plans, paint, "test")
    os.utime(other, (time.time() + 100, time.time() + 100))
    (tmp_path / "log").unlink()
    convert(plans, paint, "test")
    assert log_of(tmp_path) == [2]


def test_source_that_is_not_there(tmp_path):
    plans = plan(tmp_path, 2)
    (tmp_path / "source").unlink()
    with pytest.raises(DataError, match="no such file") as refused:
        convert(plans, paint, "test")
    assert str(tmp_path / "source") in str(refused.value)


def test_nothing_to_convert(tmp_path, capfd):
    convert([], paint, "test")
    assert capfd.readouterr() == ("", ""), "no bar, and no processes that could warn"


def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path):
    process = start(tmp_path, SEVERAL, rest=0.05)
    wait_for(lambda: len(log_of(tmp_path)) >= 10)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = made_of(tmp_path)
    assert 0 < len(before) < SEVERAL
    # What a process leaves that is killed while it writes.
    (tmp_path / "made/.9.png.123").write_bytes(b"\x89PNG half of it")
    logged = len(log_of(tmp_path))
    convert(plan(tmp_path, SEVERAL), paint, "test")
    assert made_of(tmp_path) == list(range(SEVERAL))
    assert sorted(log_of(tmp_path)[logged:]) == sorted(set(range(SEVERAL)) - set(before))


def test_two_processes_at_once_make_each_picture_once(tmp_path):
    processes = [start(tmp_path, SEVERAL, rest=0.01) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert made_of(tmp_path) == list(range(SEVERAL))
    assert set(Counter(log_of(tmp_path)).values()) == {1}


def test_a_second_process_waits_and_makes_nothing(tmp_path):
    first = start(tmp_path, 8, rest=0.2)
    wait_for(lambda: log_of(tmp_path))
    convert(plan(tmp_path, 8), paint, "test")
    assert made_of(tmp_path) == list(range(8)) and sorted(log_of(tmp_path)) == list(range(8))
    assert os.getpid() not in painters_of(tmp_path)
    first.communicate(timeout=60)
    assert first.returncode == 0


@pytest.mark.parametrize("number", [8, SEVERAL])
@pytest.mark.parametrize("function", [refuse_seven, fail_at_seven])
def test_an_exception_comes_through_and_the_rest_can_be_made_later(tmp_path, number, function):
    expected = DataError if function is refuse_seven else ZeroDivisionError
    with pytest.raises(expected, match="source 7 is damaged; copy it anew|a mistake in the code"):
        convert(plan(tmp_path, number), function, "test")
    assert 7 not in made_of(tmp_path)
    assert not [path for path in (tmp_path / "made").iterdir() if path.name not in (".lock", f"{path.stem}.png")]
    convert(plan(tmp_path, number), paint, "test")
    assert made_of(tmp_path) == list(range(number)) and set(Counter(log_of(tmp_path)).values()) == {1}


@pytest.mark.parametrize("number", [2, SEVERAL])
@pytest.mark.parametrize(
    "in_the_way",
    [
        "made",
        "made/.lock",
    ],
)
def test_folder_that_cannot_be_written(tmp_path, number, in_the_way):
    if in_the_way == "made":
        (tmp_path / "made").touch()
    else:
        (tmp_path / "made/.lock").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be written there") as refused:
        convert(plan(tmp_path, number), paint, "test")
    assert str(tmp_path / "made") in str(refused.value) and '"cache": "FOLDER"' in str(refused.value)
    assert log_of(tmp_path) == []


@pytest.mark.parametrize("number", [2, SEVERAL])
def test_picture_that_cannot_be_written(tmp_path, number):
    (tmp_path / "made").mkdir()
    plans = plan(tmp_path, number)
    # A folder of that name is younger than nothing, so that the picture is made and cannot be put there.
    (tmp_path / "made/1.png/inside").mkdir(parents=True)
    os.utime(tmp_path / "made/1.png", (1, 1))
    with pytest.raises(DataError, match="cannot be written there"):
        convert(plans, paint, "test")
    assert not list((tmp_path / "made").glob(".1.png*"))


def test_cache_lies_beside_the_data_or_where_it_is_wanted(tmp_path):
    assert cache_folder(tmp_path, None, "nyudv2") == tmp_path / "refinenet_pl_cache" / "nyudv2"
    assert cache_folder(tmp_path, "elsewhere", "nyudv2") == Path("elsewhere/nyudv2")
    assert cache_folder(tmp_path, Path("elsewhere"), "nyudv2") == Path("elsewhere/nyudv2")
