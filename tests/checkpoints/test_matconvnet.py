"""The authors' model files: the scores of a forward pass by their names, or an error that says what is not understood."""

import h5py
import numpy as np
import pytest
import torch
from helpers.matlab import matlab_line
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

# (depth, pooling blocks, improved pooling, prefix, outputs) as they were published, with ways in which files differ.
MODELS = {
    "resnet101-voc2012": (101, 4, False, "adapt_stage", 22),
    "resnet152-ade20k": (152, 2, True, "adapt_input_path", 151),
}


def picture(height: int, width: int) -> np.ndarray:
    """uint8 (height, width, 3), of which no enlarged value is so near a half that float32 might round it otherwise."""
    sides = [(side, int(np.floor(1.2 * side + 0.5))) for side in (height, width)]
    rows, columns = (matlab_line(of, to, to / of) for of, to in sides)
    for seed in range(100):
        image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        fraction = np.einsum("yi,ijc,xj->yxc", rows, image.astype(float), columns) % 1
        if abs(fraction - 0.5).min() > 1e-4:
            return image
    raise AssertionError("no such picture")


@pytest.fixture(scope="module", params=MODELS)
def imported(request, tmp_path_factory):
    """Its parameters and classifier, and the directory that the command made of the file."""
    depth, blocks, improved, prefix, outputs = MODELS[request.param]
    folder = tmp_path_factory.mktemp("matconvnet")
    parameters, head = matconvnet.parameters(depth, blocks, improved, prefix), matconvnet.classifier(outputs)
    matconvnet_file.write(folder / "refinenet.mat", parameters, head)
    main(["import", str(folder / "refinenet.mat"), "-o", str(folder / "model"), "--family=matconvnet"])
    (folder / "refinenet.mat").unlink()
    return depth, parameters, head, folder / "model"


@torch.inference_mode()
def test_scores_are_those_of_the_authors_graph(imported):
    depth, parameters, head, directory = imported
    network = RefineNet.from_pretrained(str(directory))
    mean, std = (torch.tensor(values)[:, None, None] for values in network.normalization)
    for height, width in ((30, 41), (35, 33), (40, 27)):
        image = picture(height, width)
        expected = matconvnet.forward(parameters, head, image, depth)
        scores = network.score_map(((torch.from_numpy(image).movedim(-1, 0) / 255 - mean) / std)[None])
        assert scores.shape == expected.shape
        assert (scores - expected).abs().max() <= 1e-4 * expected.abs().mean()


def test_all_that_makes_the_forward_pass_is_in_the_configuration(imported):
    depth, parameters, head, directory = imported
    config = RefineNet.from_pretrained(str(directory)).config
    assert (config["input_scale"], config["eight_bit_input"], config["upsampling"]) == (1.2, True, "bicubic")
    assert (config["caffe_strides"], config["encoder_name"]) == (True, f"resnet{depth}")
    assert config["void_channel"] == ("last" if depth == 101 else "first")
    assert config["pooling_order"] == ("pool_conv" if depth == 101 else "conv_pool")
    assert config["pooling_blocks"] == (4 if depth == 101 else 2)
    assert "aeroplane" in (directory / "classes.json").read_text() or depth == 152


def test_void_is_never_predicted_by_the_command(imported, tmp_path):
    Image.fromarray(picture(30, 41)).save(tmp_path / "photograph.png")
    main(["predict", f"--ckpt_path={imported[3]}", str(tmp_path / "photograph.png"), "--output", str(tmp_path / "out")])
    labels = np.asarray(Image.open(tmp_path / "out" / "photograph.png"))
    assert labels.max() < imported[2][1].size - 1
    assert len(np.unique(labels)) > 3


# --- names, shapes, values ---------------------------------------------------------------------------------------------------


def hollow(depth: int = 101, blocks: int = 4, improved: bool = False, prefix: str = "adapt_stage") -> dict[str, np.ndarray]:
    """All names and shapes, without the memory."""
    shapes = matconvnet.shapes(depth, blocks, improved, prefix)
    return {name: np.broadcast_to(np.float32(0.5), shape) for name, shape in shapes.items()}


def model(parameters: dict[str, np.ndarray], outputs: int = 22, scales: tuple[float, ...] = (1.2,)):
    """What the reader would have found."""
    filters = np.broadcast_to(np.float32(0.1), (3, 3, 256, outputs))
    return MatConvNetModel(parameters, filters, np.zeros((1, outputs), np.float32), scales)


@pytest.mark.parametrize("prefix", ["adapt_stage", "adapt_input_path"])
@pytest.mark.parametrize("improved", [False, True])
@pytest.mark.parametrize("blocks", [2, 4])
@pytest.mark.parametrize("depth", [101, 152])
def test_names_tell_depth_pooling_and_its_order(depth, blocks, improved, prefix, tmp_path):
    arguments, tensors = convert_matconvnet(tmp_path, model(hollow(depth, blocks, improved, prefix)))
    assert arguments["encoder_name"] == f"resnet{depth}"
    assert (arguments["pooling_blocks"], arguments["pooling_order"]) == (blocks, "conv_pool" if improved else "pool_conv")
    with torch.device("meta"):
        wanted = RefineNet(encoder_weights=None, **arguments).state_dict()
    assert {name: tensor.shape for name, tensor in tensors.items()} == {name: tensor.shape for name, tensor in wanted.items()}


@pytest.mark.parametrize(
    ("outputs", "void"), [(22, "last"), (20, "last"), (41, "last"), (7, None), (60, None), (38, "first"), (151, "first")]
)
def test_each_published_data_set_has_its_void(outputs, void, tmp_path):
    assert convert_matconvnet(tmp_path, model(hollow(), outputs))[0]["void_channel"] == void


@pytest.mark.parametrize(("number", "name"), DATASETS.items())
def test_void_is_where_the_data_set_says(number, name, tmp_path):
    dataset = find_dataset(name)
    assert len(dataset.classes) == number
    outputs = number + (dataset.void_channel is not None)
    assert convert_matconvnet(tmp_path, model(hollow(), outputs))[0]["void_channel"] == dataset.void_channel


@pytest.mark.parametrize("deviation", [1.0, 0.01, 0.001])
def test_standard_deviations_have_eps_inside_and_none_is_added(deviation, tmp_path):
    parameters = hollow() | {"bn_conv1_moments": np.tile(np.float32([0.25, deviation]), (64, 1))}
    tensors = convert_matconvnet(tmp_path, model(parameters))[1]
    layer = torch.nn.BatchNorm2d(64).eval()
    layer.load_state_dict(
        {name.removeprefix("encoder.bn1."): t for name, t in tensors.items() if name.startswith("encoder.bn1.")}
    )
    x = torch.randn(2, 64, 3, 3)
    torch.testing.assert_close(layer(x), 0.5 * (x - 0.25) / deviation + 0.5, rtol=1e-4, atol=1e-4)


def test_a_bias_of_the_first_convolution_moves_into_its_normalisation(tmp_path):
    parameters = hollow() | {"conv1_bias": np.full((1, 64), 3.0, np.float32)}
    tensors = convert_matconvnet(tmp_path, model(parameters))[1]
    assert torch.equal(tensors["encoder.bn1.running_mean"], torch.full((64,), 0.5 - 3.0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conv1_filter": None}, "1 parameters that are missing (conv1_filter)"),
        ({"adapt_stage3_b1_conv_bias": None}, "1 parameters that are missing (adapt_stage3_b1_conv_bias)"),
        ({"fc1000_filter": np.ones((1, 1, 2048, 1000))}, "1 parameters without a place (fc1000_filter)"),
        ({"adapt_input_path1_b1_conv_bias": np.ones((1, 512))}, "parameters without a place"),
        ({"mflow_conv_g3_pool2_outvar_dimred_filter": None}, "mflow_conv_g3_pool2_outvar_dimred_filter"),
        ({"bn_conv1_moments": np.ones((64, 3))}, "the moments for encoder.bn1 have shape (64, 3), not (channels, 2)"),
        ({"bn_conv1_moments": np.zeros((64, 2))}, "a standard deviation that is not positive"),
        ({"res4b7_branch2a_filter": None}, "has [3, 4, 22, 3] blocks in its stages"),
    ],
)
def test_each_parameter_is_used_once(changes, said, tmp_path):
    parameters = {name: value for name, value in (hollow() | changes).items() if value is not None}
    with pytest.raises(CheckpointError) as refused:
        convert_matconvnet(tmp_path / "model.mat", model(parameters))
    assert said in str(refused.value) and "model.mat" in str(refused.value)


def test_a_number_of_outputs_that_was_not_published_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="has 12 outputs; the authors' models have 7, 20, 22"):
        convert_matconvnet(tmp_path, model(hollow(), 12))


def test_two_input_scales_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"takes the picture at the scales 0\.6, 1\.2"):
        convert_matconvnet(tmp_path, model(hollow(), scales=(0.6, 1.2)))


# --- the file ----------------------------------------------------------------------------------------------------------------

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
    """A file of the authors' layout with a handful of parameters."""
    path = tmp_path / "small.mat"
    matconvnet_file.write(path, SMALL, HEAD)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scales", [(1.2,), (0.6, 1.2), None])
def test_arrays_come_back_with_the_axes_of_matlab(tmp_path, dtype, scales):
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


def test_a_struct_array_of_one_has_no_references(tmp_path):
    path = tmp_path / "one.mat"
    mat = MatFile(path)
    params = mat.struct(mat.references, "params")
    mat.text(params, "name", "conv1_filter")
    mat.array(params, "value", SMALL["conv1_filter"])
    mat.array(params, "learningRate", np.float64(1))
    mat.array(params, "weightDecay", np.float64(1))
    layer = mat.struct(mat.references, "layer")
    mat.array(layer, "filters", HEAD[0])
    mat.array(layer, "biases", HEAD[1])
    mat.close()
    np.testing.assert_array_equal(read_matconvnet(path).parameters["conv1_filter"], SMALL["conv1_filter"])


def places(path) -> dict[str, str]:
    """Where the file keeps the value of each parameter."""
    with h5py.File(path) as file:
        found = {}

        def look(name, group):
            if isinstance(group, h5py.Group) and "value" in group:
                for text, value in zip(group["name"][()].flat, group["value"][()].flat, strict=True):
                    found[bytes(file[text][()].T.astype("<u2")).decode("utf-16-le")] = file[value].name

        file.visititems(look)
    return found


def struct_with(path, field: str) -> str:
    """Where the file has a struct with that field."""
    with h5py.File(path) as file:
        return file.visititems(lambda name, group: name if isinstance(group, h5py.Group) and field in group else None)


def as_gpu_array(file, place, classifier):
    file[place].attrs["MATLAB_class"] = np.bytes_("gpuArray")


def as_object(file, place, classifier):
    file[place].attrs["MATLAB_object_decode"] = np.int32(3)


def as_logical(file, place, classifier):
    file[place].attrs["MATLAB_class"] = np.bytes_("logical")


def as_empty(file, place, classifier):
    file[place].attrs["MATLAB_empty"] = np.uint8(1)


def without_classifier(file, place, classifier):
    del file[classifier]["filters"]


def with_two_classifiers(file, place, classifier):
    file.copy(classifier, "#refs#/again")


def with_biases_for_others(file, place, classifier):
    del file[classifier]["biases"]
    file[classifier].create_dataset("biases", data=np.zeros((7, 1), np.float32)).attrs["MATLAB_class"] = np.bytes_("single")


def with_a_struct_as_filters(file, place, classifier):
    del file[classifier]["filters"]
    file[classifier].create_group("filters")


def with_other_scales_elsewhere(file, place, classifier):
    scales = file[classifier].create_dataset("net_input_img_scales", data=np.array([[0.8]]))
    scales.attrs["MATLAB_class"] = np.bytes_("double")


def with_a_parameter_twice(file, place, classifier):
    file.copy(params_of(file), "#refs#/again")


def with_a_reference_to_nothing(file, place, classifier):
    references = file[params_of(file)]["value"]
    references[0, 0] = h5py.Reference()


def with_names_that_are_numbers(file, place, classifier):
    name = file[file[params_of(file)]["name"][0, 0]]
    name.attrs["MATLAB_class"] = np.bytes_("double")


def with_fewer_values_than_names(file, place, classifier):
    group = file[params_of(file)]
    values = group["value"][:-1]
    del group["value"]
    group.create_dataset("value", data=values, dtype=h5py.ref_dtype)


def without_parameters(file, place, classifier):
    for group in list_of_params(file):
        del file[group]["weightDecay"]


def kept_in_another_file(file, place, classifier):
    layout = h5py.VirtualLayout((4, 4), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", (4, 4))
    del file[classifier]["biases"]
    file[classifier].create_virtual_dataset("biases", layout).attrs["MATLAB_class"] = np.bytes_("single")


def that_unpacks_to_terabytes(file, place, classifier):
    del file[classifier]["filters"]
    bomb = file[classifier].create_dataset("filters", (2**20, 2**20), np.float32, chunks=(2**10, 2**10), compression="gzip")
    bomb.attrs["MATLAB_class"] = np.bytes_("single")


def list_of_params(file) -> list[str]:
    found = []
    file.visititems(lambda name, group: found.append(name) if isinstance(group, h5py.Group) and "value" in group else None)
    return found


def params_of(file) -> str:
    return list_of_params(file)[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (as_gpu_array, "the value of conv1_filter, is an object of MATLAB's class gpuArray"),
        (as_object, "the value of conv1_filter, is an object of MATLAB's class single"),
        (as_logical, "the value of conv1_filter, is of MATLAB's class logical; expected single or double"),
        (as_empty, "the value of conv1_filter, is empty"),
        (without_classifier, "must hold one struct with the fields biases and filters, the classifier; found none"),
        (with_two_classifiers, "found /#refs#/"),
        (with_biases_for_others, "has filters (3, 3, 4, 5) and biases (1, 7)"),
        (with_a_struct_as_filters, "filters is a struct where an array was expected"),
        (with_other_scales_elsewhere, "net_input_img_scales is there more than once, and not the same"),
        (with_a_parameter_twice, "is there twice, the second time at /#refs#/"),
        (with_a_reference_to_nothing, "an entry of /#refs#/"),
        (with_names_that_are_numbers, "is no text, but the name of a parameter was expected there"),
        (with_fewer_values_than_names, "do not have an entry for each other"),
        (without_parameters, "holds no struct array with the fields learningRate, name, value, weightDecay"),
        (kept_in_another_file, "biases is kept in another file; that is refused"),
        (that_unpacks_to_terabytes, "unpacks to 4096.0 GiB; no RefineNet needs more than 8"),
    ],
)
def test_the_part_that_is_not_understood_is_named(small, change, said):
    place, classifier = places(small)["conv1_filter"], struct_with(small, "filters")
    with h5py.File(small, "r+") as file:
        change(file, place, classifier)
    with pytest.raises(CheckpointError) as refused:
        read_matconvnet(small)
    assert said in str(refused.value) and str(small) in str(refused.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(small, share):
    content = small.read_bytes()
    small.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="cannot be read as a MATLAB 7.3 file"):
        read_published(small)


def test_a_file_of_before_version_7_3_is_told_apart(tmp_path):
    savemat(tmp_path / "old.mat", {"net_config": {"a": 1}})
    with pytest.raises(CheckpointError, match=r"old\.mat: is a \.mat file of before version 7\.3; .* save it with -v7\.3"):
        read_published(tmp_path / "old.mat")


def test_values_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path):
    parameters, (filters, biases) = hollow(), matconvnet.classifier(22)
    parameters["bn_conv1_bias"] = np.full((64, 1), np.nan, np.float32)
    matconvnet_file.write(tmp_path / "model.mat", parameters, (filters, biases))
    with pytest.raises(SystemExit, match=r"not finite \(encoder\.bn1\.bias\)"):
        main(["import", str(tmp_path / "model.mat"), "-o", str(tmp_path / "model")])
    assert [path.name for path in tmp_path.iterdir()] == ["model.mat"]


def test_damaged_bytes_lead_to_documented_errors_alone(small):
    whole, rng, refused = np.frombuffer(small.read_bytes(), np.uint8), np.random.default_rng(0), 0
    for _ in range(300):
        damaged = whole.copy()
        places = rng.integers(512, len(whole), 25)
        damaged[places] = rng.integers(0, 256, 25)
        small.write_bytes(damaged.tobytes())
        try:
            read_matconvnet(small)
        except CheckpointError as error:
            refused += 1
            assert str(small) in str(error)
    assert refused > 50
