"""Training that starts from the weights of another network."""

import json

import pytest
import torch
from helpers.networks import tiny
from helpers.running import QUICK, fit, record, refusal

from refinenet_pl.checkpoints.initialization import initialize, read_weights
from refinenet_pl.checkpoints.model_directory import write_model_directory
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.classes import Classes
from refinenet_pl.datasets.scenes import Scenes
from refinenet_pl.datasets.values import Values
from refinenet_pl.errors import CheckpointError

OWN = Classes(("sky", "road", "dog"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
OTHER = Classes(("road", "cat", "sky", "tree"), ((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)))
HEAD = "segmentation_head.1"
NETWORK = "--model.network.init_args."


@pytest.fixture
def other(tmp_path):
    """A network of other classes as a model directory."""
    network = tiny(classes=4)
    write_model_directory(tmp_path / "model", network, OTHER)
    return network.state_dict(), str(tmp_path / "model")


def test_classifier_is_new_but_for_classes_of_the_same_name(other):
    state, source = other
    network = tiny(classes=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = initialize(network, read_weights(source), OWN)
    own = network.state_dict()
    assert found.channels == ["sky", "road"] and not found.unused and len(found.sha256) == 64
    for name, tensor in own.items():
        if not name.startswith(HEAD):
            assert torch.equal(tensor, state[name])
            continue
        assert torch.equal(tensor[0], state[name][2]) and torch.equal(tensor[1], state[name][0])
        assert torch.equal(tensor[2], before[name][2])
    assert found.taken == len([name for name in own if not name.startswith(HEAD)])
    assert "classifier: new, except for the channels of the same name: sky, road" in found.describe()


def test_same_classes_take_everything(other):
    state, source = other
    network = tiny(classes=4)
    found = initialize(network, read_weights(source), OTHER)
    assert found.channels is None and found.new == []
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_values_share_no_channel_with_classes(other):
    network = tiny(classes=1)
    found = initialize(network, read_weights(other[1]), Values(("sky",)))
    assert found.channels == []


def test_other_networks_are_refused_unless_partial(other):
    network = tiny(classes=4, cascade=2)
    weights = read_weights(other[1])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for meaning in OTHER, Classes(OTHER.names[::-1], OTHER.palette):
        with pytest.raises(CheckpointError, match=r"do not fit the network: .*--init_partial"):
            initialize(network, weights, meaning)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items()), "an error changes nothing"
    found = initialize(network, weights, OTHER, partial=True)
    assert found.new or found.unused
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in found.new)
    with pytest.raises(CheckpointError, match="none of its tensors fits"):
        initialize(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1)), weights, OTHER, partial=True)


@pytest.mark.parametrize("source, named", [("nowhere.ckpt", "nowhere.ckpt: no such file"), ("./a/b", "./a/b: no such file")])
def test_missing_weights_are_named(source, named):
    with pytest.raises(CheckpointError, match=named):
        read_weights(source)


def test_fit_starts_from_a_run_and_freezes_parts(tmp_path, capsys):
    trained = fit(tmp_path / "first")
    (checkpoint,) = (tmp_path / "first").rglob("last.ckpt")
    options = [f"--init={checkpoint}", "--freeze=[encoder,decoder]", "--model.learning_rate=0.001"]
    started = fit(tmp_path / "second", *options)
    assert "initialized from" in capsys.readouterr().out
    assert started["initialized"]["source"] == str(checkpoint) and started["initialized"]["channels"] is None
    assert started["config"]["init"] == str(checkpoint) and started["config"]["model"]["freeze"] == ["encoder", "decoder"]
    one, other = (
        torch.load(next((tmp_path / name).rglob("last.ckpt")), weights_only=True)["state_dict"] for name in ("first", "second")
    )
    changed = [name for name in one if not torch.equal(one[name], other[name])]
    assert changed and all(HEAD in name for name in changed)
    assert trained["evaluations"]["val"]["confusion"] != started["evaluations"]["val"]["confusion"]


def test_fit_starts_depth_from_segmentation(tmp_path):
    write_model_directory(tmp_path / "model", tiny(classes=11), Scenes.classes)
    arguments = json.loads((tmp_path / "model" / "config.json").read_text())
    network = [f"{NETWORK}{name}={arguments[name]}" for name in ("encoder_name", "width", "deepest_width")]
    fit(
        tmp_path / "runs",
        "-c=scenes_depth",
        *network,
        f"{NETWORK}encoder_weights=null",
        f"--init={tmp_path / 'model'}",
        "--init_partial=true",
    )
    assert record(tmp_path / "runs")["initialized"]["channels"] == []


def test_fit_uses_the_network_of_the_weights(tmp_path, capsys):
    """Options of the command line change it."""
    directory = tmp_path / "model"
    write_model_directory(directory, tiny(classes=4, width=12, pooling_relu=False, pooling_order="conv_pool"), OTHER)
    root, init = f"--run.root={tmp_path / 'runs'}", [f"--init={directory}", "--init_network=true"]
    options = [option for option in QUICK if "init_args" not in option]
    main(["fit", *options, root, *init, f"{NETWORK}dropout=0.5"])
    found = record(tmp_path / "runs")
    network = found["config"]["model"]["network"]["init_args"]
    assert (network["width"], network["pooling_order"], network["dropout"], network["classes"]) == (12, "conv_pool", 0.5, 11)
    assert set(found["initialized"]["new"]) <= {f"{HEAD}.weight", f"{HEAD}.bias"} and found["initialized"]["channels"]
    last = next((tmp_path / "runs").rglob("last.ckpt"))
    main(["fit", *options, f"--run.root={tmp_path / 'again'}", f"--init={last}", "--init_network=true"])
    again = record(tmp_path / "again")
    assert again["config"]["model"]["network"] == found["config"]["model"]["network"] and again["initialized"]["new"] == []
    assert "--init_network true requires --init" in refusal(capsys, "fit", root, "--init_network=true")


def test_errors_name_the_option(tmp_path, capsys):
    root = f"--run.root={tmp_path}"
    assert "nothing.ckpt: no such file" in refusal(capsys, "fit", "--init=nothing.ckpt", root)
    assert "freeze: 'enoder' matches no parameter" in refusal(capsys, "fit", "--freeze=[enoder]", root)
    assert "leave nothing to train" in refusal(capsys, "fit", "--freeze=['*']", root)
