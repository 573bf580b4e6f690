"""Import of the PyTorch ports' checkpoints: scores of the published code, or an error without any file written."""

import os
import zipfile

import numpy as np
import pytest
import torch
from helpers.files import count_refusals
from helpers.published.weights import HERE, SIZES, image, shapes, state_dict
from PIL import Image

from refinenet_pl import RefineNet
from refinenet_pl.checkpoints.model_directory import read_model_directory
from refinenet_pl.checkpoints.published.reader import read_published
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.nyud_depth import NYUDv2Depth
from refinenet_pl.errors import CheckpointError

FAMILIES = {"drsleep_refinenet50": "drsleep", "lightweight_refinenet50": "light-weight"}
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


@pytest.fixture(scope="module", params=FAMILIES)
def imported(request, tmp_path_factory):
    """Name of a published checkpoint, and the directory of the imported network."""
    folder = tmp_path_factory.mktemp(request.param)
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state_dict(request.param).items()}}
    torch.save(wrapped, folder / "checkpoint.pth.tar")
    main(["import", str(folder / "checkpoint.pth.tar"), "-o", str(folder / "model")])
    (folder / "checkpoint.pth.tar").unlink()
    return request.param, folder / "model"


@torch.inference_mode()
def test_scores_equal_those_of_the_published_code(imported):
    published, directory = imported
    network = RefineNet.from_pretrained(str(directory))
    with np.load(HERE / f"{published}.npz") as recorded:
        assert len(recorded.files) == len(SIZES) == 3
        for size in SIZES:
            expected = torch.from_numpy(recorded["{}x{}".format(*size)])
            scores = network.score_map(image(*size))
            assert scores.shape == expected.shape
            assert (scores - expected).abs().max() <= 1e-4 * expected.abs().mean()


@torch.inference_mode()
def test_predict(imported, tmp_path):
    directory = imported[1]
    network = RefineNet.from_pretrained(str(directory))
    assert network.normalization == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) and network.void_channel is None
    assert '"aeroplane"' in (directory / "classes.json").read_text()
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    main(["predict", f"--ckpt_path={directory}", str(tmp_path / "image.png"), "--output", str(tmp_path / "out")])
    mean, std = (torch.tensor(values)[:, None, None] for values in network.normalization)
    expected = network(((torch.from_numpy(pixels).movedim(-1, 0) / 255 - mean) / std)[None]).argmax(1)[0]
    assert (np.asarray(Image.open(tmp_path / "out" / "image.png")) == expected.numpy()).mean() > 0.999


def hollow(published: str = "lightweight_refinenet50", **changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """All names and shapes in a few kilobytes, by tensors with a single element; `changes` have `__` in place of dots."""
    counter, value = torch.tensor(3), torch.tensor(0.5)
    state = {name: (value if shape else counter).expand(shape) for name, shape in shapes(published).items()}
    state |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


def with_depth(state: dict[str, torch.Tensor], depth: int) -> dict[str, torch.Tensor]:
    """The checkpoint of a deeper ResNet, with copies of each stage's second block."""
    deeper = dict(state)
    for stage, blocks in enumerate(BLOCKS[depth], start=1):
        second = {name: tensor for name, tensor in state.items() if name.startswith(f"layer{stage}.1.")}
        for block in range(2, blocks):
            deeper |= {name.replace(f"layer{stage}.1.", f"layer{stage}.{block}."): tensor for name, tensor in second.items()}
    return deeper


def saved(content, path, **options):
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("published", FAMILIES)
@pytest.mark.parametrize("depth", BLOCKS)
def test_family_and_depth_are_inferred_from_names(published, depth, tmp_path):
    state = with_depth(hollow(published), depth)
    if (published, depth) == ("drsleep_refinenet50", 101):
        assert {name: tuple(tensor.shape) for name, tensor in state.items()} == shapes("drsleep_refinenet101")
    found = read_published(saved(state, tmp_path / "checkpoint.pth"))
    assert (found.family, found.network.config["encoder_name"]) == (FAMILIES[published], f"resnet{depth}")
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in found.network.parameters())
    assert not found.network.training
    assert found.network.segmentation_head[0].p == (0.5 if found.family == "drsleep" else 0.0)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}, "optimizer": {"state": {}}},
        lambda state: {"segmenter": state, "epoch_start": 12, "best_val": 0.4},
        lambda state: {"state_dict": {f"net.module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")},
        lambda state: {name: t.half() if t.is_floating_point() else t for name, t in state.items()},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_wrappers_prefixes_and_formats(wrap, zipped, tmp_path):
    path = saved(wrap(hollow()), tmp_path / "checkpoint.pth", _use_new_zipfile_serialization=zipped)
    family, network = read_published(path)
    assert family == "light-weight" and {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_shared_memory_is_copied(tmp_path):
    shared, state = torch.rand(256, 256, 1, 1), hollow()
    twins = [name for name, tensor in state.items() if tensor.shape == shared.shape][:2]
    network = read_published(saved(state | dict.fromkeys(twins, shared), tmp_path / "checkpoint.pth")).network
    equal = [p for p in network.parameters() if p.shape == shared.shape and torch.equal(p.data, shared)]
    assert len({p.data_ptr() for p in equal}) == len(twins) == 2


def refusal(tmp_path, content, *options: str) -> str:
    """The error message of an import, which writes nothing."""
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    directory = tmp_path / "models" / "model"
    with pytest.raises(SystemExit) as stopped:
        main(["import", str(path), "-o", str(directory), *options])
    assert not directory.parent.exists()
    message = str(stopped.value)
    assert message.startswith("error: ") and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clf_conv__bias": None}, "missing tensors (segmentation_head.1.bias)"),
        ({"surplus__weight": torch.ones(3)}, "unexpected tensors (encoder.surplus.weight)"),
        ({"fc__weight": torch.ones(1000, 2048)}, "unexpected tensors (encoder.fc.weight)"),
        ({"bn1__weight": torch.ones(63)}, "another shape (encoder.bn1.weight (63,) for (64,))"),
        ({"bn1__weight": torch.full((64,), torch.nan)}, "NaN or infinity (encoder.bn1.weight)"),
        ({"bn1__bias": torch.full((64,), torch.inf)}, "NaN or infinity (encoder.bn1.bias)"),
        ({"bn1__bias": torch.ones(64, dtype=torch.int64)}, "another type (encoder.bn1.bias)"),
        ({"bn1__bias": torch.ones(64, dtype=torch.complex64)}, "another type (encoder.bn1.bias)"),
        ({"layer3__5__conv1__weight": None}, "missing tensors (encoder.layer3.5.conv1.weight)"),
        ({name.replace(".", "__"): None for name in hollow() if name[:9] == "layer3.5."}, "[3, 4, 5, 3] blocks"),
        ({"p_ims1d2_outl1_dimred__weight": None}, "p_ims1d2_outl1_dimred.weight"),
        ({"p_ims1d2_outl1_dimred__weight": torch.ones(256, 2048, 3, 3)}, "3x3 convolutions"),
        ({"clf_conv__weight": None}, "clf_conv.weight"),
        ({"clf_conv__weight": torch.ones(1).expand(4_000_000, 256, 3, 3)}, "no RefineNet needs more than 8"),
        ({"epoch": 5}, "(*): epoch"),
    ],
)
def test_each_tensor_is_used_once(changes, message, tmp_path):
    assert message in refusal(tmp_path, hollow(**changes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--family=drsleep"], "light-weight, not drsleep"),
        (["--classes=40"], "21 outputs, not 40"),
        (["--dataset=nyudv2"], "21 outputs without void, but nyudv2 has 40 classes"),
        (["--dataset=nyudv2_depth"], "21 outputs without void, but nyudv2_depth has 1 values"),
        (["--activation=softplus"], "--activation is for a --dataset of values"),
        (["--dataset=nowhere"], "'nowhere'"),
    ],
)
def test_options_must_fit_the_checkpoint(options, message, tmp_path):
    assert message in refusal(tmp_path, hollow(), *options)


def test_unknown_classes_are_numbered_and_nothing_is_overwritten(tmp_path, capsys):
    path = saved(hollow(clf_conv__weight=torch.ones(5, 256, 3, 3), clf_conv__bias=torch.ones(5)), tmp_path / "checkpoint.pth")
    main(["import", str(path), "-o", str(tmp_path / "model"), "--classes=5", "--family=light-weight"])
    assert "5 classes, which are numbered" in capsys.readouterr().out
    assert '"class 4"' in (tmp_path / "model" / "classes.json").read_text()
    (tmp_path / "model" / "classes.json").unlink()
    with pytest.raises(SystemExit, match="exists already"):
        main(["import", str(path), "-o", str(tmp_path / "model")])
    assert not (tmp_path / "model" / "classes.json").exists(), "an existing directory is not changed"


def test_network_of_values(tmp_path, capsys):
    path = saved(hollow(clf_conv__weight=torch.ones(1, 256, 3, 3), clf_conv__bias=torch.ones(1)), tmp_path / "checkpoint.pth")
    main(["import", str(path), "-o", str(tmp_path / "model"), "--dataset=nyudv2_depth", "--activation=softplus"])
    assert "1 values of nyudv2_depth" in capsys.readouterr().out
    model = read_model_directory(tmp_path / "model")
    assert (model.meaning, model.activation) == (NYUDv2Depth.values, "softplus")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_not_run(zipped, tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = saved({"x": Malicious()}, tmp_path / "checkpoint.pth", _use_new_zipfile_serialization=zipped)
    assert f"{os.mkdir.__module__}.mkdir" in refusal(tmp_path, path.read_bytes())
    assert not (tmp_path / "ran").exists()


def test_truncated_and_missing_files_are_refused(tmp_path):
    content = saved(hollow(), tmp_path / "checkpoint.pth").read_bytes()
    for share in 0.0, 0.02, 0.5, 0.95, 0.999:
        assert "cannot be read" in refusal(tmp_path, content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"none\.pth: no such file"):
        read_published(tmp_path / "none.pth")


@pytest.mark.slow
def test_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
        with archive.open("archive/data/0", "w", force_zip64=True) as file:
            for _ in range(130):
                file.write(bytes(64 * 2**20))
    assert path.stat().st_size < 2**24 and "unpacks to 8.1 GiB" in refusal(tmp_path, path.read_bytes())


def test_damaged_bytes_raise_documented_errors_only(tmp_path):
    path = saved(hollow(), tmp_path / "checkpoint.pth")
    assert count_refusals(read_published, path, CheckpointError, cases=60) > 40
