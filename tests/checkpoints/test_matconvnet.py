"""Import of the authors' models: scores of a second implementation, and errors that name the problem."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from helpers.files import count_refusals
from helpers.matlab import matlab73
from helpers.published import matconvnet, matconvnet_file
from helpers.published.matconvnet_file import MatFile
from PIL import Image
from scipy.io import savemat

from refinenet_pl import RefineNet
from refinenet_pl.checkpoints.published.matconvnet import convert_matconvnet
from refinenet_pl.checkpoints.published.matconvnet_file import MatConvNetModel, read_matconvnet
from refinenet_pl.checkpoints.published.reader import read_published
from refinenet_pl.cli.import_ import DATASETS
from refinenet_pl.cli.main import main
from refinenet_pl.datasets.registry import find_dataset
from refinenet_pl.errors import CheckpointError

# Depth, pooling blocks, improved pooling, prefix and outputs of published models, which cover the variants of the files.
MODELS = [(101, 4, False, "adapt_stage", 22), (152, 2, True, "adapt_input_path", 151)]
# Seeds of images without an upsampled value near a half, which float32 might round differently.
SEEDS = {(30, 41): 5, (35, 33): 0, (40, 27): 5}


def image(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(SEEDS[size]).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture(scope="module", params=MODELS, ids=["resnet101-voc2012", "resnet152-ade20k"])
def imported(request, tmp_path_factory):
    """Depth, parameters and classifier of a model, and the directory of the imported network."""
    depth, blocks, improved, prefix, outputs = request.param
    folder = tmp_path_factory.mktemp("matconvnet")
    parameters, head = matconvnet.parameters(depth, blocks, improved, prefix), matconvnet.classifier(outputs)
    matconvnet_file.write(folder / "refinenet.mat", parameters, head)
    main(["import", str(folder / "refinenet.mat"), "-o", str(folder / "model"), "--family=matconvnet"])
    (folder / "refinenet.mat").unlink()
    return depth, parameters, head, folder / "model"


@torch.inference_mode()
def test_scores_equal_those_of_the_authors_graph(imported):
    depth, parameters, head, directory = imported
    network = RefineNet.from_pretrained(str(directory))
    mean, std = (torch.tensor(values)[:, None, None] for values in network.normalization)
    for size in SEEDS:
        pixels = image(size)
        expected = matconvnet.forward(parameters, head, pixels, depth)
        scores = network.score_map(((torch.from_numpy(pixels).movedim(-1, 0) / 255 - mean) / std)[None])
        assert scores.shape == expected.shape
        assert (scores - expected).abs().max() <= 1e-4 * expected.abs().mean()


def test_void_is_not_predicted(imported, tmp_path):
    depth, _, (_, biases), directory = imported
    assert "aeroplane" in (directory / "classes.json").read_text() or depth == 152
    Image.fromarray(image((30, 41))).save(tmp_path / "image.png")
    main(["predict", f"--ckpt_path={directory}", str(tmp_path / "image.png"), "--output", str(tmp_path / "out")])
    labels = np.asarray(Image.open(tmp_path / "out" / "image.png"))
    assert labels.max() < biases.size - 1 and len(np.unique(labels)) > 3


def hollow(depth: int = 101, blocks: int = 4, improved: bool = False, prefix: str = "adapt_stage") -> dict[str, np.ndarray]:
    """All names and shapes, without memory for the values."""
    shapes = matconvnet.shapes(depth, blocks, improved, prefix)
    return {name: np.broadcast_to(np.float32(0.5), shape) for name, shape in shapes.items()}


def model(parameters: dict[str, np.ndarray], outputs: int = 22, scales: tuple[float, ...] = (1.2,)) -> MatConvNetModel:
    filters = np.broadcast_to(np.float32(0.1), (3, 3, 256, outputs))
    return MatConvNetModel(parameters, filters, np.zeros((1, outputs), np.float32), scales)


@pytest.mark.parametrize("prefix", ["adapt_stage", "adapt_input_path"])
@pytest.mark.parametrize("improved", [False, True])
@pytest.mark.parametrize("blocks", [2, 4])
@pytest.mark.parametrize("depth", [101, 152])
def test_architecture_is_inferred_from_names(depth, blocks, improved, prefix, tmp_path):
    arguments, tensors = convert_matconvnet(tmp_path, model(hollow(depth, blocks, improved, prefix)))
    assert arguments["encoder_name"] == f"resnet{depth}"
    assert (arguments["pooling_blocks"], arguments["pooling_order"]) == (blocks, "conv_pool" if improved else "pool_conv")
    with torch.device("meta"):
        expected = RefineNet(encoder_weights=None, **arguments).state_dict()
    assert {name: tensor.shape for name, tensor in tensors.items()} == {name: t.shape for name, t in expected.items()}


@pytest.mark.parametrize(
    ("outputs", "void"), [(22, "last"), (20, "last"), (41, "last"), (7, None), (60, None), (38, "first"), (151, "first")]
)
def test_void_channel(outputs, void, tmp_path):
    assert convert_matconvnet(tmp_path, model(hollow(), outputs))[0]["void_channel"] == void
    (dataset,) = [find_dataset(name) for number, name in DATASETS.items() if number == outputs - (void is not None)]
    assert dataset.void_channel == void and len(dataset.classes) + (void is not None) == outputs


@pytest.mark.parametrize(("deviation", "bias"), [(1.0, 0.0), (0.01, 0.0), (0.001, 0.0), (1.0, 3.0)])
def test_batch_norm_includes_eps_and_the_bias_of_the_convolution(deviation, bias, tmp_path):
    parameters = hollow() | {"bn_conv1_moments": np.tile(np.float32([0.25, deviation]), (64, 1))}
    parameters |= {"conv1_bias": np.full((1, 64), bias, np.float32)} if bias else {}
    tensors = convert_matconvnet(tmp_path, model(parameters))[1]
    layer, prefix = torch.nn.BatchNorm2d(64).eval(), "encoder.bn1."
    layer.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    x = torch.randn(2, 64, 3, 3)
    torch.testing.assert_close(layer(x), 0.5 * (x + bias - 0.25) / deviation + 0.5, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"conv1_filter": None}, {}, "missing parameters (conv1_filter)"),
        ({"adapt_stage3_b1_conv_bias": None}, {}, "missing parameters (adapt_stage3_b1_conv_bias)"),
        ({"fc1000_filter": np.ones((1, 1, 2048, 1000))}, {}, "unexpected parameters (fc1000_filter)"),
        ({"adapt_input_path1_b1_conv_bias": np.ones((1, 512))}, {}, "unexpected parameters"),
        ({"mflow_conv_g3_pool2_outvar_dimred_filter": None}, {}, "mflow_conv_g3_pool2_outvar_dimred_filter"),
        ({"bn_conv1_moments": np.ones((64, 3))}, {}, "encoder.bn1 have shape (64, 3)"),
        ({"bn_conv1_moments": np.zeros((64, 2))}, {}, "not positive"),
        ({"res4b7_branch2a_filter": None}, {}, "[3, 4, 22, 3] blocks"),
        ({}, {"outputs": 12}, "12 outputs"),
        ({}, {"scales": (0.6, 1.2)}, "scales 0.6, 1.2"),
    ],
)
def test_other_models_are_refused(changes, arguments, message, tmp_path):
    parameters = {name: value for name, value in (hollow() | changes).items() if value is not None}
    with pytest.raises(CheckpointError) as refused:
        convert_matconvnet(tmp_path / "model.mat", model(parameters, **arguments))
    assert message in str(refused.value) and "model.mat" in str(refused.value)


SMALL = {
    "conv1_filter": np.arange(7 * 5 * 3 * 2, dtype=np.float32).reshape(7, 5, 3, 2),
    "bn_conv1_moments": np.arange(8, dtype=np.float32).reshape(4, 2),
    "bn_conv1_mult": np.arange(4, dtype=np.float32).reshape(4, 1),
    "adapt_stage1_b1_conv_bias": np.arange(6, dtype=np.float32).reshape(1, 6),
    "p_ims1d2_outl1_dimred_filter": np.arange(36, dtype=np.float32).reshape(3, 3, 2, 2),
}
HEAD = np.arange(3 * 3 * 4 * 5, dtype=np.float32).reshape(3, 3, 4, 5), np.arange(5, dtype=np.float32).reshape(1, 5)


@pytest.fixture
def small(tmp_path):
    """A file in the authors' layout with a few parameters."""
    path = tmp_path / "small.mat"
    matconvnet_file.write(path, SMALL, HEAD)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scales", [(1.2,), (0.6, 1.2), None])
def test_arrays_have_matlabs_axes(tmp_path, dtype, scales):
    path = tmp_path / "small.mat"
    matconvnet_file.write(path, SMALL, HEAD, scales, dtype)
    found = read_matconvnet(path)
    assert found.parameters.keys() == SMALL.keys()
    for name, values in SMALL.items():
        assert found.parameters[name].dtype == np.float32
        np.testing.assert_array_equal(found.parameters[name], values)
    np.testing.assert_array_equal(found.classifier_filters, HEAD[0])
    np.testing.assert_array_equal(found.classifier_biases, HEAD[1])
    assert found.image_scales == pytest.approx(scales or (1.2,))


def test_struct_array_with_one_element(tmp_path):
    path, value = tmp_path / "one.mat", SMALL["conv1_filter"]
    with matlab73(path) as file:
        mat = MatFile(file)
        mat.write(mat.references, "params", {"name": "conv1_filter", "value": value, "learningRate": 1.0, "weightDecay": 1.0})
        mat.write(mat.references, "layer", {"filters": HEAD[0], "biases": HEAD[1]})
    np.testing.assert_array_equal(read_matconvnet(path).parameters["conv1_filter"], value)


def parts_of(file: h5py.File) -> SimpleNamespace:
    """Groups of parameters, name and value of conv1_filter, and the classifier."""
    structs = []
    file.visititems(lambda _, group: structs.append(group) if isinstance(group, h5py.Group) else None)
    groups = [group for group in structs if "value" in group]
    (layer,) = [group for group in structs if "filters" in group]
    references = [pair for group in groups for pair in zip(group["name"][()].flat, group["value"][()].flat, strict=True)]
    pairs = {bytes(file[name][()].T).decode("utf-16-le"): (file[name], file[value]) for name, value in references}
    name, value = pairs["conv1_filter"]
    return SimpleNamespace(file=file, groups=groups, name=name, value=value, layer=layer)


def replaced(field: str, **options):
    """A change that replaces a field of the classifier with a dataset with these options."""

    def change(parts):
        parts.layer.pop(field, None)
        create = parts.layer.create_virtual_dataset if "layout" in options else parts.layer.create_dataset
        create(field, **options).attrs["MATLAB_class"] = np.bytes_("single")

    return change


def virtual() -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout((4, 4), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", (4, 4))
    return layout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.value.attrs.update(MATLAB_class=np.bytes_("gpuArray")), "conv1_filter, is an object"),
        (lambda p: p.value.attrs.update(MATLAB_object_decode=np.int32(3)), "conv1_filter, is an object"),
        (lambda p: p.value.attrs.update(MATLAB_class=np.bytes_("logical")), "class logical"),
        (lambda p: p.value.attrs.update(MATLAB_empty=np.uint8(1)), "conv1_filter, is empty"),
        (lambda p: p.name.attrs.update(MATLAB_class=np.bytes_("double")), "is not text"),
        (lambda p: p.layer.pop("filters"), "biases and filters, the classifier; found none"),
        (lambda p: p.file.copy(p.layer, "#refs#/again"), "found /#refs#/"),
        (lambda p: p.file.copy(p.groups[0], "#refs#/again"), "occurs twice"),
        (lambda p: (p.layer.pop("filters"), p.layer.create_group("filters")), "filters is a struct"),
        (lambda p: p.groups[0]["value"].__setitem__((0, 0), h5py.Reference()), "an entry of /#refs#/"),
        (lambda p: [group.pop("weightDecay") for group in p.groups], "no struct array with the fields"),
        (lambda p: p.groups[0].update(value=p.groups[0].pop("value")[:-1]), "differ in length"),
        (replaced("biases", data=np.zeros((7, 1), np.float32)), "(3, 3, 4, 5) and biases (1, 7)"),
        (replaced("net_input_img_scales", data=np.float32([[0.8]])), "net_input_img_scales"),
        (replaced("biases", shape=(4, 4), dtype=np.float32, external="other.bin"), "biases refers to another file"),
        (replaced("biases", layout=virtual()), "biases refers to another file"),
        (replaced("filters", shape=(2**20,) * 2, dtype=np.float32, chunks=(2**10,) * 2, compression="gzip"), "4096.0 GiB"),
    ],
)
def test_unexpected_contents_are_named(small, change, message):
    with h5py.File(small, "r+") as file:
        change(parts_of(file))
    with pytest.raises(CheckpointError) as refused:
        read_matconvnet(small)
    assert message in str(refused.value) and str(small) in str(refused.value)


def test_truncated_and_older_files_are_refused(small, tmp_path):
    content = small.read_bytes()
    for share in 0.1, 0.5, 0.9, 0.99:
        small.write_bytes(content[: int(share * len(content))])
        with pytest.raises(CheckpointError, match="cannot be read as a MATLAB 7.3 file"):
            read_published(small)
    savemat(tmp_path / "old.mat", {"net_config": {"a": 1}})
    with pytest.raises(CheckpointError, match=r"old\.mat: .* before version 7\.3"):
        read_published(tmp_path / "old.mat")


def test_nonfinite_values_are_refused_and_nothing_is_written(tmp_path):
    parameters = hollow() | {"bn_conv1_bias": np.full((64, 1), np.nan, np.float32)}
    matconvnet_file.write(tmp_path / "model.mat", parameters, matconvnet.classifier(22))
    with pytest.raises(SystemExit, match=r"NaN or infinity \(encoder\.bn1\.bias\)"):
        main(["import", str(tmp_path / "model.mat"), "-o", str(tmp_path / "model")])
    assert [path.name for path in tmp_path.iterdir()] == ["model.mat"]


def test_damaged_bytes_raise_documented_errors_only(small):
    assert count_refusals(read_matconvnet, small, CheckpointError, cases=300, first=512) > 50
