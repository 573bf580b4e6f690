"""The real command line on the built-in data set, in processes of its own."""

import csv
import json

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from helpers.repository import REPOSITORY
from helpers.running import SMALL, run
from PIL import Image

from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.tracking.identity import RunId


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunId:
    """A finished run with an offline W&B record; no key, no prompt."""
    root = tmp_path_factory.mktemp("runs")
    home = tmp_path_factory.mktemp("home")
    finished = RunId("scenes", "chained_pooling", "pool_conv_4", 3, str(root))
    run(
        "fit",
        *SMALL,
        "--seed_everything=3",
        "--run.table=chained_pooling",
        "--run.cell=pool_conv_4",
        f"--run.root={root}",
        WANDB_MODE=None,
        WANDB_API_KEY=None,
        HOME=str(home),
    )
    return finished


def test_a_run_leaves_its_whole_record(trained):
    directory = trained.directory
    assert {"config.yaml", "results.json", "last.ckpt", "best.ckpt", "metrics", "wandb"} <= {
        p.name for p in directory.iterdir()
    }
    results = json.loads(trained.results_file.read_text())
    assert results["run"] == {"recipe": "scenes", "table": "chained_pooling", "cell": "pool_conv_4", "seed": 3}
    assert results["config"]["model"]["classes"] == results["config"]["model"]["network"]["init_args"]["classes"] == 11
    assert results["config"]["data"]["seed"] == 3
    assert results["training"]["epochs"] == 2 and results["training"]["steps"] == 6 and results["training"]["seconds"] > 0
    assert results["world_size"] == 1 and results["device"].startswith("CPU") and results["versions"]["torch"]
    assert set(results["git"]) == {"revision", "dirty"}

    validation = results["evaluations"]["val"]
    labels = np.stack([Scenes(split="val", size=64, samples=24, seed=0).read(i)[1] for i in range(24)])
    assert np.sum(validation["confusion"]) == (labels != 255).sum(), "every labelled pixel is counted once"
    assert 0 <= validation["miou"] <= 1 and set(validation["iou"]) == set(Scenes.classes.names)

    rows = list(csv.DictReader((directory / "metrics" / "train" / "version_0" / "metrics.csv").open()))
    logged = [float(row["val/miou"]) for row in rows if row.get("val/miou")]
    assert len(logged) == 2 and logged[-1] == pytest.approx(validation["miou"], abs=1e-6)


def test_samples_are_what_the_last_network_predicts(trained):
    task, classes = load_for_prediction(trained.directory / "last.ckpt")
    dataset = Scenes(split="val", size=64, samples=24, seed=0)
    for index in 5, 9, 14, 18:
        image, label = dataset.read(index)
        stem = str(trained.directory / "samples" / dataset.name(index))
        with Image.open(f"{stem}-prediction.png") as prediction, Image.open(f"{stem}-label.png") as kept:
            with torch.inference_mode():
                mask = task.predict_mask(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])[0]
            assert np.array_equal(prediction, mask) and np.array_equal(kept, label)
            assert prediction.getpalette()[:33] == [channel for colour in classes.palette for channel in colour]
        assert Image.open(f"{stem}-picture.jpg").size == (64, 64)


def test_a_finished_run_ends_at_once_and_stays_as_it_is(trained):
    before = {p: p.stat().st_mtime_ns for p in trained.directory.rglob("*") if p.is_file()}
    output = run(*_again(trained))
    assert "finished already" in output
    assert {p: p.stat().st_mtime_ns for p in trained.directory.rglob("*") if p.is_file()} == before


def test_another_configuration_is_refused_in_the_same_directory(trained):
    output = run(*_again(trained), "--model.learning_rate=0.5", code=1)
    assert "model.learning_rate: 0.01 there, 0.5 now" in output and "--run.cell" in output


def test_test_adds_its_scores_to_the_record(trained):
    output = run(*_again(trained, "test"))
    results = json.loads(trained.results_file.read_text())
    assert results["evaluations"]["test"]["checkpoint"] == "best.ckpt" and results["evaluations"]["test"]["split"] == "test"
    rows = list(csv.DictReader((trained.directory / "test.csv").open()))
    assert {row["class"]: row["iou"] for row in rows} == {
        name: "" if iou is None else repr(iou) for name, iou in results["evaluations"]["test"]["iou"].items()
    }
    assert (trained.directory / "test-confusion.png").stat().st_size > 0
    assert f"{100 * results['evaluations']['test']['iou']['sky']:.1f}" in output and "IoU %" in output
    assert results["evaluations"]["test"]["confusion"] != results["evaluations"]["val"]["confusion"]


def test_the_papers_protocol_from_training_to_test(tmp_path):
    options = [
        *SMALL, "--trainer.max_epochs=1", '--data.dataset_options={"size": 64, "samples": 3}', "--data.global_batch=2",
        "--data.test_split=val", f"--run.root={tmp_path}", "--model.test_scales=[0.1,0.2]",
    ]  # fmt: skip
    paper = RunId("scenes", root=str(tmp_path))
    run("fit", *options, "--model.protocol=paper", "--model.loss_at=score_map")
    evaluations = json.loads(paper.results_file.read_text())["evaluations"]
    assert list(evaluations) == ["val", "val, multi-scale"]
    assert np.shape(evaluations["val"]["confusion"]) == (11, 12), "void can be predicted, and has no row"
    assert evaluations["val, multi-scale"]["inference"]["scales"] == [0.1, 0.2]
    run("test", *options, "--model.protocol=paper", "--model.loss_at=score_map")
    tested = json.loads(paper.results_file.read_text())["evaluations"]["test, multi-scale"]
    assert tested["checkpoint"] == "last.ckpt", "the best one was chosen on the pictures that are scored"
    assert tested["confusion"] == evaluations["val, multi-scale"]["confusion"]
    assert (tmp_path / "single@scenes/default/seed0/test-multi-scale.csv").exists()
    # The same network, with the output for void left out of account.
    run("test", *options, "--model.void_output=true", "--model.test_scales=[1.0]")
    assert np.shape(json.loads(paper.results_file.read_text())["evaluations"]["test"]["confusion"]) == (11, 11)
    output = run("test", *options, code=1)
    assert "last.ckpt holds another network than the configuration describes" in output


def test_predict_needs_the_checkpoint_alone(trained, tmp_path):
    image, _ = Scenes(split="test", size=96).read(0)
    Image.fromarray(image[:, :83]).save(tmp_path / "scene.png")
    output = tmp_path / "out"
    run("predict", f"{tmp_path}/*.png", f"--ckpt_path={trained.directory / 'best.ckpt'}", f"--output={output}")
    assert {p.name for p in output.iterdir()} == {"scene.png", "scene_color.png", "scene_overlay.png"}
    mask = np.array(Image.open(output / "scene.png"))
    assert mask.shape == (96, 83) and mask.max() < 11


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model.network.init_args.poolingblocks=2"], "poolingblocks"),
        (["--model.nonsense=1"], "nonsense"),
        (["--data.dataset=nowhere"], "no data set is called 'nowhere'"),
        (["--data.dataset=folder", "--data.root=nowhere"], "error: nowhere/classes.yaml: no such file"),
        (["--model.network.init_args.pooling_order=sideways"], "sideways"),
        (["--model.class_weights=[1, 2]"], "error: 2 class_weights for 11 classes"),
        (["--seed_everything=true"], "error: seed_everything is True; give a number"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_name(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some are refused once the run has its directory
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "-c", str(REPOSITORY / "experiments/recipes/scenes.yaml"), *arguments])
    captured = capsys.readouterr()
    assert stopped.value.code != 0
    assert message in captured.err + captured.out + str(stopped.value.code)


def test_another_network_is_one_option(monkeypatch):
    sizes = []
    forward = smp.FPN.forward
    monkeypatch.setattr(smp.FPN, "forward", lambda self, x: sizes.append(tuple(x.shape[-2:])) or forward(self, x))
    network = ["--model.network=segmentation_models_pytorch.FPN", "--model.network.init_args.encoder_weights=null"]
    data = ['--data.dataset_options={"size": 90, "samples": 8}', "--data.crop_size=[72, 90]"]
    main(["fit", f"-c={REPOSITORY}/experiments/recipes/scenes.yaml", *data, *network, "--trainer.fast_dev_run=1"])
    assert sizes == [(96, 96), (96, 96)], "training and validation pictures are padded to a size that FPN takes"


def test_an_unknown_command_is_answered_with_the_known_ones(capsys):
    with pytest.raises(SystemExit, match="(?s)usage.*fit.*predict.*there is no command 'train'"):
        main(["train"])


def _again(finished: RunId, command: str = "fit") -> list[str]:
    return [
        command,
        *SMALL,
        f"--seed_everything={finished.seed}",
        f"--run.table={finished.table}",
        f"--run.cell={finished.cell}",
        f"--run.root={finished.root}",
    ]
