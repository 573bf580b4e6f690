"""Runs that are named by their options, with `--run.cell auto`."""

import re

import pytest
import yaml
from helpers.running import QUICK, fit, run
from helpers.tables import TABLE

from refinenet_pl.cli.main import main
from refinenet_pl.cli.recipes import expand
from refinenet_pl.errors import CatalogError
from refinenet_pl.tracking.auto_cell import LINKED, cell_name, is_auto_name, label, varied
from refinenet_pl.tracking.configuration import flatten

RECIPE = {
    "seed_everything": 0,
    "trainer": {"max_epochs": 3, "devices": 1, "callbacks": None},
    "model": {"learning_rate": 0.01, "weights": None, "network": {"class_path": "a.Net", "init_args": {"width": 24}}},
    "data": {"crop_size": [128, 128], "root": None},
}


def changed(**options) -> dict:
    """The recipe with other values by dotted key, with `__` for a dot."""
    config = yaml.safe_load(yaml.safe_dump(RECIPE))
    for key, value in options.items():
        *path, last = key.split("__")
        inner = config
        for name in path:
            inner = inner[name]
        inner[last] = value
    return config


def name(**options) -> str:
    return cell_name(RECIPE, changed(**options))


def test_name_shows_options_and_is_stable():
    assert name() == name(seed_everything=5) == name(trainer__devices=8, data__root="elsewhere") == "default"
    assert name(model__learning_rate=0.02, model__network__init_args__width=8) == "learning_rate_0.02-width_8-8d29aa80"
    assert name(model__learning_rate=1) == name(model__learning_rate=1.0, trainer__devices=2)
    assert name(data__crop_size=[64, 64]) == name(data__crop_size=(64, 64))


def test_different_options_have_different_names():
    values = [None, 0, False, "", "null", "false", [], [0], {}, 1, True, 0.1, "a/b", "c/b", "x" * 300]
    names = [name(model__weights=value) for value in values]
    names += [name(trainer__callbacks=[{"class_path": f"a.{one}", "init_args": {"n": 1}}]) for one in ("Stop", "Wait")]
    names += [name(model__network={"class_path": "a.Other", "init_args": {}}), name(model__network={"class_path": "a.Net"})]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{,59}", one) for one in names)
    assert [one for one in names if not is_auto_name(one)] == ["default"]
    assert names[-2].startswith("network_Other-") and names[-4].startswith("callbacks_Stop-")


def test_varied_options_label_runs():
    configs = {
        "a": changed(model__learning_rate=0.02, model__freeze=["encoder"], seed_everything=1),
        "b": changed(model__network={"class_path": "a.Other", "init_args": {"depth": 5}}, trainer__devices=4),
        "c": changed(model__network__init_args__width=8),
    }
    values = varied(configs)
    assert set(values["b"]) == {"model.learning_rate", "model.network.class_path"}
    assert label(values["a"], list(values["a"])) == "learning_rate 0.02, network Net, width 24"
    same_ending = {"model.network.init_args.scales": [1, 0.5], "data.scales": None}
    assert label(same_ending, list(same_ending)) == "network.scales [1, 0.5], data.scales null"


def test_names_of_runs(tmp_path):
    """The same options in another order and spelling, and other devices and paths, find the same run."""
    options = ["--run.cell=auto", "--run.table=rates", "--model.power=0.5", "--model.learning_rate=0.020"]
    config = fit(tmp_path, *options)["config"]
    (directory,) = tmp_path.glob("rates@scenes/*/seed0")
    assert directory.parent.name == config["run"]["cell"]
    assert re.fullmatch(r"learning_rate_0\.02-deepest_width_8-width_8-size_64-[0-9a-f]{8}", config["run"]["cell"])
    assert yaml.safe_load((directory / "config.yaml").read_text())["run"]["cell"] == config["run"]["cell"]
    linked = {key for key in LINKED if any(one == key or one.startswith(f"{key}.") for one in flatten(config))}
    assert linked >= {"model.classes", "model.freeze", "data.seed", "model.network.init_args.in_channels"}
    again = ["--model.learning_rate=2e-2", *QUICK, *options[:3], f"--run.root={tmp_path}"]
    with pytest.raises(SystemExit) as finished:
        main(["fit", *again, "--trainer.accelerator=auto", "--log.samples=2"])
    assert finished.value.code == 0
    main(["test", *again])
    assert "test" in yaml.safe_load((directory / "results.json").read_text())["evaluations"]


def test_all_processes_find_the_same_run(tmp_path):
    run("fit", *QUICK, "--run.cell=auto", f"--run.root={tmp_path}", "--trainer.devices=2", "--data.global_batch=4")
    assert len(list(tmp_path.rglob("results.json"))) == 1 == len(list(tmp_path.glob("single@scenes/*")))


def test_incomplete_recipe_is_refused(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("data: {dataset: scenes}")
    with pytest.raises(SystemExit, match=r"recipe, but mine is not complete by itself: .*model\.network"):
        main(["fit", "-c", str(recipe), "--model.network=refinenet_pl.RefineNet", "--run.cell=auto", f"--run.root={tmp_path}"])


def test_cell_of_a_table(tmp_path):
    with pytest.raises(CatalogError, match=r"--run\.cell auto .* cascade is one; use one of its cells \(.*cascade_2"):
        expand(["fit", "-c=scenes", "--run.table=cascade", "--run.cell=auto"])
    table = tmp_path / "mine.yaml"
    table.write_text(TABLE.replace("shallow:", "auto:"))
    fit(tmp_path, f"--run.table={table}", "--run.cell=auto")
    assert (tmp_path / "mine@scenes/auto/seed0/results.json").is_file()


@pytest.mark.parametrize(
    ("value", "read"),
    [("None", "null"), ("[None, 'a']", '[null, "a"]'), ("{'a': None}", '{"a": null}'), ("'None'", '"None"')]
    + [(text, text) for text in ("NoneSuch", "0.5", "[0.5, 1.0]", "True", "[a, None")],
)
def test_values_of_python_are_read(value, read):
    assert expand(["fit", f"--model.x={value}"]) == ["fit", f"--model.x={read}"]
