"""Publication of a trained network, and its use from the published directory."""

from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from helpers.repository import REPOSITORY
from helpers.running import fit, same

import refinenet_pl
from refinenet_pl import RefineNet, SegmentationTask
from refinenet_pl.checkpoints.loading import load_for_prediction
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.errors import CheckpointError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Directory of a finished run."""
    root = tmp_path_factory.mktemp("runs")
    fit(root)
    return next(root.rglob("results.json")).parent


def test_published_network_predicts_trains_and_loads(run, tmp_path, capsys):
    model = tmp_path / "model"
    main(["publish", str(run), "-o", str(model)])
    assert f"written: {model}, from {run / 'best.ckpt'}" in capsys.readouterr().out
    assert {path.name for path in model.iterdir()} == {
        "README.md", "classes.json", "config.json", "model.safetensors", "recipe.yaml", "results.json"
    }  # fmt: skip
    image = Scenes(split="val", size=64).read(0)[0]
    one, other = (refinenet_pl.load(source, device="cpu")(image) for source in (run / "best.ckpt", model))
    assert np.array_equal(one.scores, other.scores)
    assert RefineNet.from_pretrained(str(model)).config["classes"] == 11
    started = fit(tmp_path / "more", f"--init={model}")
    assert started["initialized"]["channels"] is None and started["initialized"]["new"] == []
    assert f"{model}: exists already" in str(pytest.raises(SystemExit, main, ["publish", str(run), "-o", str(model)]).value)


def test_half_precision(run, tmp_path):
    for dtype in "float32", "float16":
        main(["publish", str(run / "last.ckpt"), "-o", str(tmp_path / dtype), f"--dtype={dtype}"])
    full, half = (tmp_path / dtype / "model.safetensors" for dtype in ("float32", "float16"))
    assert half.stat().st_size < 0.6 * full.stat().st_size
    loaded, original = (load_for_prediction(path.parent)[0].network.state_dict() for path in (half, full))
    for name, tensor in original.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor.half().to(tensor.dtype) if tensor.is_floating_point() else tensor)
    assert "before they were rounded to float16" in (tmp_path / "float16" / "README.md").read_text()


def test_weights_that_exceed_half_precision(run, tmp_path):
    checkpoint = torch.load(run / "best.ckpt", weights_only=False)
    name = next(name for name in checkpoint["state_dict"] if name.endswith("running_var"))
    checkpoint["state_dict"][name][0] = 1e6
    large = tmp_path / "large.ckpt"
    torch.save(checkpoint, large)
    with pytest.raises(SystemExit, match="running_var exceed float16; publish it as float32"):
        main(["publish", str(large), "-o", str(tmp_path / "model"), "--dtype=float16"])
    assert not (tmp_path / "model").exists()


def test_card(run, tmp_path):
    main(["publish", str(run / "last.ckpt"), "-o", str(tmp_path / "model")])
    _, metadata, text = (tmp_path / "model" / "README.md").read_text().split("---\n", 2)
    facts = yaml.safe_load(metadata)
    assert facts["library_name"] == "refinenet_pl" and facts["license"] == "other" and facts["license_name"] != "mit"
    assert Scenes.license in text and "11 classes: sky" in text
    record = yaml.safe_load((tmp_path / "model" / "results.json").read_text())
    assert f"{100 * record['evaluations']['val']['miou']:.1f}" in text and "learning_rate" in text
    code = text.split("```python\n")[1].split("```")[0]
    refinenet_pl.load(code.split('load("')[1].split('")')[0], device="cpu")


def test_upload(run, tmp_path, monkeypatch, capsys):
    calls = []

    class Api:
        def create_repo(self, identifier, exist_ok):
            calls.append(identifier)

        def upload_folder(self, repo_id, folder_path):
            if "denied" in repo_id:
                raise PermissionError("403")
            calls.append(sorted(path.name for path in folder_path.iterdir()))
            return f"https://hub/{repo_id}"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    main(["publish", str(run), "-o", str(tmp_path / "model"), "--push=me/net"])
    assert (
        calls[0] == "me/net"
        and "model.safetensors" in calls[1]
        and 'load("me/net")' in (tmp_path / "model/README.md").read_text()
    )
    assert "uploaded: https://hub/me/net" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="was not uploaded to denied/net .*HF_TOKEN"):
        main(["publish", str(run), "-o", str(tmp_path / "other"), "--push=denied/net"])
    assert (tmp_path / "other" / "config.json").exists()


def test_missing_checkpoint(tmp_path):
    with pytest.raises(SystemExit, match="has no best.ckpt|has no last.ckpt"):
        main(["publish", str(tmp_path), "-o", str(tmp_path / "model")])


def test_task_loads_from_a_checkpoint_alone(run):
    task = SegmentationTask.load_from_checkpoint(run / "best.ckpt", test_flip=True)
    known, _ = load_for_prediction(run / "best.ckpt")
    assert task.test_inference.flip and same(task.state_dict(), known.state_dict())
    assert dict(task.hparams) == dict(known.hparams) | {"test_flip": True}
    given = SegmentationTask.load_from_checkpoint(str(run / "best.ckpt"), network=known.network)
    assert given.network is known.network


def test_network_alone_carries_its_classes(run, tmp_path, monkeypatch):
    network = load_for_prediction(run / "best.ckpt")[0].network
    network.save_pretrained(str(tmp_path / "one"))
    again = RefineNet.from_pretrained(str(tmp_path / "one"))
    uploaded = {}

    def upload_folder(api, folder_path, **options):
        uploaded.update(
            {path.name: path.read_text() for path in Path(folder_path).iterdir() if path.suffix in (".json", ".md")}
        )

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *args, **options: SimpleNamespace(repo_id="a/b"))
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    again.push_to_hub("a/b")
    assert uploaded["classes.json"] == (tmp_path / "one/classes.json").read_text()
    card = uploaded["README.md"]
    assert "license: mit" not in card and "library_name: refinenet_pl" in card and "from refinenet_pl import RefineNet" in card
    assert refinenet_pl.load(tmp_path / "one").names == list(Scenes.classes.names)


def test_checkpoint_without_a_description_of_its_network_needs_one(tmp_path):
    task = SegmentationTask(torch.nn.Conv2d(3, 2, 1), 2)
    torch.save({"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams), "network": None}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt: does not describe its network; pass it as network="):
        SegmentationTask.load_from_checkpoint(tmp_path / "a.ckpt")


def test_torch_hub(run):
    predict = torch.hub.load(str(REPOSITORY), "predictor", str(run / "best.ckpt"), source="local", device="cpu")
    assert predict.names == list(Scenes.classes.names)
    network = torch.hub.load(str(REPOSITORY), "refinenet", "resnet18", source="local", encoder_weights=None, classes=3)
    assert isinstance(network, RefineNet) and network.config["classes"] == 3
