"""Publication of a trained network, and its use from the published directory."""

import huggingface_hub
import numpy as np
import pytest
import yaml
from helpers.running import fit

import refinenet_pl
from refinenet_pl import RefineNet
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.scenes import Scenes


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
