"""Published checkpoints of the PyTorch ports: the same scores as the published code's, or an error and nothing written."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch
from helpers.layouts import voc2012
from helpers.published.weights import HERE, SIZES, picture, shapes, state_dict
from helpers.repository import REPOSITORY
from PIL import Image

from refinenet_pl import RefineNet
from refinenet_pl.checkpoints.published.reader import read_published
from refinenet_pl.cli.main import main
from refinenet_pl.errors import CheckpointError

FAMILIES = {"drsleep_refinenet50": "drsleep", "lightweight_refinenet50": "light-weight"}

# Parameters of the published networks with 21 outputs; published as 118.05 and 46.35 million where these are known.
PARAMETERS = {
    ("drsleep", 50): 99_060_309,
    ("drsleep", 101): 118_052_437,
    ("drsleep", 152): 133_696_085,
    ("light-weight", 50): 27_357_525,
    ("light-weight", 101): 46_349_653,
    ("light-weight", 152): 61_993_301,
}


@pytest.fixture(scope="module", params=FAMILIES)
def imported(request, tmp_path_factory):
    """The name of what was published, and the directory that the command made of it."""
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint, directory = folder / "checkpoint.pth.tar", folder / "model"
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state_dict(request.param).items()}}
    torch.save(wrapped, checkpoint)
    main(["import", str(checkpoint), "-o", str(directory)])
    checkpoint.unlink()
    return request.param, directory


@torch.inference_mode()
def test_scores_are_those_of_the_published_code(imported):
    published, directory = imported
    network = RefineNet.from_pretrained(str(directory))
    with np.load(HERE / f"{published}.npz") as recorded:
        assert len(recorded.files) == len(SIZES) == 3
        for size in SIZES:
            expected = torch.from_numpy(recorded["{}x{}".format(*size)])
            scores = network.score_map(picture(*size))
            assert scores.shape == expected.shape
            assert (scores - expected).abs().max() <= 1e-4 * expected.abs().mean()


def test_normalisation_and_classes_travel_with_the_model(imported):
    network = RefineNet.from_pretrained(str(imported[1]))
    assert network.normalization == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert network.void_channel is None
    assert '"aeroplane"' in (imported[1] / "classes.json").read_text()


def test_predict_needs_no_further_options(imported, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "photograph.png")
    main(["predict", f"--ckpt_path={imported[1]}", str(tmp_path / "photograph.png"), "--output", str(tmp_path / "out")])
    network = RefineNet.from_pretrained(str(imported[1]))
    mean, std = (torch.tensor(values)[:, None, None] for values in network.normalization)
    with torch.inference_mode():
        labels = network(((torch.from_numpy(image).movedim(-1, 0) / 255 - mean) / std)[None]).argmax(1)[0]
    found = np.asarray(Image.open(tmp_path / "out" / "photograph.png"))
    assert (found == labels.numpy()).mean() > 0.999


def test_test_scores_an_imported_model(imported, tmp_path, capsys):
    voc2012.build(tmp_path / "data")
    arguments = [f"--data.root={tmp_path / 'data'}", f"--run.root={tmp_path / 'runs'}", "--data.num_workers=0"]
    arguments += ["--model.protocol=standard", "--model.test_scales=[1.0]", "--trainer.enable_progress_bar=false"]
    main(["test", "-c", str(REPOSITORY / "experiments/recipes/voc2012.yaml"), f"--ckpt_path={imported[1]}", *arguments])
    assert "aeroplane" in capsys.readouterr().out
    assert list(imported[1].glob("test*.csv")), "the scores lie beside the model"
    assert not (tmp_path / "runs").exists()


# --- what is in a file --------------------------------------------------------------------------------------------------------


def hollow(published: str) -> dict[str, torch.Tensor]:
    """A checkpoint with all names and shapes, in a few kilobytes: the elements of a tensor are one and the same."""
    return {
        name: torch.tensor(3) if name.endswith("num_batches_tracked") else torch.full((1,), 0.5).expand(shape)
        for name, shape in shapes(published).items()
    }


def with_depth(state: dict[str, torch.Tensor], depth: int) -> dict[str, torch.Tensor]:
    """That of a deeper ResNet: its further blocks are like those before."""
    deeper = dict(state)
    for stage, blocks in zip((1, 2, 3, 4), {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}[depth], strict=True):
        second = {name: tensor for name, tensor in state.items() if name.startswith(f"layer{stage}.1.")}
        for block in range(2, blocks):
            deeper |= {name.replace(f"layer{stage}.1.", f"layer{stage}.{block}."): tensor for name, tensor in second.items()}
    return deeper


def saved(content, path):
    torch.save(content, path)
    return path


@pytest.mark.parametrize("published", FAMILIES)
@pytest.mark.parametrize("depth", [50, 101, 152])
def test_family_and_depth_are_told_by_the_names(published, depth, tmp_path):
    state = with_depth(hollow(published), depth)
    if (published, depth) == ("drsleep_refinenet50", 101):
        assert {name: tuple(tensor.shape) for name, tensor in state.items()} == shapes("drsleep_refinenet101")
    found = read_published(saved(state, tmp_path / "checkpoint.pth"))
    assert (found.family, found.network.config["encoder_name"]) == (FAMILIES[published], f"resnet{depth}")
    parameters = list(found.network.parameters())
    assert sum(parameter.numel() for parameter in parameters) == PARAMETERS[found.family, depth]
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in parameters)
    assert not found.network.training
    assert found.network.segmentation_head[0].p == (0.5 if found.family == "drsleep" else 0.0)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}, "optimizer": {"state": {}}},
        lambda state: {"segmenter": state, "epoch_start": 12, "best_val": 0.4},
        lambda state: {"state_dict": {f"net.module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")},
    ],
)
def test_wrappers_and_prefixes(wrap, tmp_path):
    path = saved(wrap(hollow("lightweight_refinenet50")), tmp_path / "checkpoint.pth")
    assert read_published(path).family == "light-weight"


def test_a_pickle_of_before_zip_files(tmp_path):
    path = tmp_path / "old.pth"
    torch.save(hollow("lightweight_refinenet50"), path, _use_new_zipfile_serialization=False)
    assert read_published(path).family == "light-weight"


def test_tensors_that_share_memory_in_the_file_do_not_share_it_in_the_network(tmp_path):
    shared = torch.rand(256, 256, 1, 1)
    state = hollow("lightweight_refinenet50")
    twins = [name for name, tensor in state.items() if tensor.shape == shared.shape][:2]
    state |= dict.fromkeys(twins, shared)
    network = read_published(saved(state, tmp_path / "checkpoint.pth")).network
    equal = [p for p in network.parameters() if p.shape == shared.shape and torch.equal(p.data, shared)]
    assert len({p.data_ptr() for p in equal}) == len(twins) == 2


def refusal(tmp_path, content, *options: str) -> str:
    """The message with which the command ends; nothing is left behind."""
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    directory = tmp_path / "models" / "model"
    with pytest.raises(SystemExit) as stopped:
        main(["import", str(path), "-o", str(directory), *options])
    assert not directory.parent.exists(), "nothing is written"
    message = str(stopped.value)
    assert message.startswith("error: ") and "\n" not in message
    return message


def changed(**tensors) -> dict[str, torch.Tensor]:
    state = hollow("lightweight_refinenet50")
    for name, tensor in tensors.items():
        name = name.replace("__", ".")
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    return state


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"clf_conv__bias": None}, "1 tensors that are missing (segmentation_head.1.bias)"),
        ({"conv1__weight": None}, "1 tensors that are missing (encoder.conv1.weight)"),
        ({"surplus__weight": torch.ones(3)}, "1 tensors without a place (encoder.surplus.weight)"),
        ({"fc__weight": torch.ones(1000, 2048)}, "1 tensors without a place (encoder.fc.weight)"),
        ({"bn1__weight": torch.ones(63)}, "1 tensors of another shape (encoder.bn1.weight (63,) for (64,))"),
        ({"bn1__weight": torch.full((64,), torch.nan)}, "1 tensors with values that are not finite (encoder.bn1.weight)"),
        ({"bn1__bias": torch.full((64,), torch.inf)}, "1 tensors with values that are not finite (encoder.bn1.bias)"),
        ({"bn1__bias": torch.ones(64, dtype=torch.int64)}, "1 tensors of another type (encoder.bn1.bias)"),
        ({"bn1__bias": torch.ones(64, dtype=torch.complex64)}, "1 tensors of another type (encoder.bn1.bias)"),
        ({"layer3__5__conv1__weight": None}, "1 tensors that are missing (encoder.layer3.5.conv1.weight)"),
        ({"p_ims1d2_outl1_dimred__weight": None}, "holds no p_ims1d2_outl1_dimred.weight"),
        ({"p_ims1d2_outl1_dimred__weight": torch.ones(256, 2048, 3, 3)}, "no residual convolution units and 3x3 convolutions"),
        ({"clf_conv__weight": None}, "holds no dictionaries with a tensor clf_conv.weight"),
        ({"epoch": 5}, "beside the network's tensors (*) there is epoch"),
    ],
)
def test_each_tensor_is_used_once_and_set_once(tensors, said, tmp_path):
    assert said in refusal(tmp_path, changed(**tensors))


def test_half_precision_becomes_float32(tmp_path):
    state = {name: t.half() if t.is_floating_point() else t for name, t in hollow("lightweight_refinenet50").items()}
    network = read_published(saved(state, tmp_path / "checkpoint.pth")).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_resnet_of_another_depth_is_refused(tmp_path):
    state = {name: t for name, t in hollow("lightweight_refinenet50").items() if not name.startswith("layer3.5.")}
    assert "has [3, 4, 5, 3] blocks in its stages" in refusal(tmp_path, state)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--family=drsleep"], "is a checkpoint of the family light-weight, not drsleep"),
        (["--classes=40"], "has 21 outputs, not 40"),
        (["--dataset=nyudv2"], "has 21 classes, but nyudv2 has 40"),
        (["--dataset=nowhere"], "no data set is called 'nowhere'"),
    ],
)
def test_what_was_asked_for_must_hold(options, said, tmp_path):
    assert said in refusal(tmp_path, hollow("lightweight_refinenet50"), *options)


def test_a_number_of_classes_that_no_data_set_has_is_numbered(tmp_path, capsys):
    state = changed(clf_conv__weight=torch.ones(5, 256, 3, 3), clf_conv__bias=torch.ones(5))
    path = saved(state, tmp_path / "checkpoint.pth")
    main(["import", str(path), "-o", str(tmp_path / "model"), "--classes=5", "--family=light-weight"])
    assert "5 classes, which are numbered" in capsys.readouterr().out
    assert '"class 4"' in (tmp_path / "model" / "classes.json").read_text()


def test_a_directory_that_exists_is_left_alone(tmp_path):
    path = saved(hollow("lightweight_refinenet50"), tmp_path / "checkpoint.pth")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit, match="exists already"):
        main(["import", str(path), "-o", str(tmp_path / "model")])
    assert [file.name for file in (tmp_path / "model").iterdir()] == ["notes.txt"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth: no such file"):
        read_published(tmp_path / "none.pth")


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(zipped, tmp_path):
    buffer = io.BytesIO()
    torch.save({"x": Malicious(tmp_path / "ran")}, buffer, _use_new_zipfile_serialization=zipped)
    message = refusal(tmp_path, buffer.getvalue())
    assert f"holds more than tensors ({os.mkdir.__module__}.mkdir)" in message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95, 0.999])
def test_a_truncated_file_is_refused(share, tmp_path):
    buffer = io.BytesIO()
    torch.save(hollow("lightweight_refinenet50"), buffer)
    content = buffer.getvalue()
    assert "cannot be read as a PyTorch checkpoint" in refusal(tmp_path, content[: int(share * len(content))])


def test_a_zip_bomb_is_refused_by_what_it_claims(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        with archive.open("archive/data/0", "w", force_zip64=True) as file:
            for _ in range(130):
                file.write(bytes(64 * 2**20))
    content = buffer.getvalue()
    assert len(content) < 2**24
    assert "unpacks to 8.1 GiB" in refusal(tmp_path, content)


def test_a_tensor_that_claims_more_than_it_holds_is_refused(tmp_path):
    state = changed(clf_conv__weight=torch.ones(1).expand(4_000_000, 256, 3, 3))
    assert "no RefineNet needs more than 8" in refusal(tmp_path, state)


def test_damaged_bytes_lead_to_documented_errors_alone(tmp_path):
    buffer = io.BytesIO()
    torch.save(changed(), buffer)
    whole = np.frombuffer(buffer.getvalue(), np.uint8)
    rng, path, refused = np.random.default_rng(0), tmp_path / "checkpoint.pth", 0
    for _ in range(60):
        damaged = whole.copy()
        places = rng.integers(0, len(whole), 20)
        damaged[places] = rng.integers(0, 256, 20)
        path.write_bytes(damaged.tobytes())
        try:
            read_published(path)
        except CheckpointError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 40
