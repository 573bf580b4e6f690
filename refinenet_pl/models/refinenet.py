"""RefineNet: an encoder, a cascade of RefineNet blocks, and a classifier.

Paper: Lin, Milan, Shen, Reid, "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation", CVPR 2017;
extended in TPAMI 2019. Sections, figures and tables named in this package are those of the CVPR paper.

    image         (N, 3, H, W)
    encoder       feature maps at 1/4, 1/8, 1/16 and 1/32 of the image
    decoder       one RefineNet block per feature map, from 1/32 to 1/4: `decoder`, Section 3.1
                  in each block: RCUs, fusion, chained residual pooling, RCU: `blocks`, Section 3.2
    classifier    score map (N, classes, H/4, W/4)
    upsampling    logits (N, classes, H, W)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from segmentation_models_pytorch.base import ClassificationHead, SegmentationModel
from segmentation_models_pytorch.base.hub_mixin import supports_config_loading
from torch import Tensor, nn

from refinenet_pl.datasets.meaning_files import MEANING_FILES
from refinenet_pl.errors import CheckpointError
from refinenet_pl.models.blocks import DecoderNorm, PoolingOrder, Shortcut, convolution
from refinenet_pl.models.decoder import DecoderInit, RefineNetDecoder, initialize
from refinenet_pl.models.encoders import Normalization, build_encoder, normalization_of
from refinenet_pl.models.ops import symbolic_shapes
from refinenet_pl.models.ops.dropout import Dropout, number_layers
from refinenet_pl.models.ops.resize import Upsampling, resize
from refinenet_pl.state_dicts import describe_mismatch, describe_nonfinite, is_mismatch

if TYPE_CHECKING:
    from huggingface_hub import ModelCard  # a dependency of smp

VoidChannel = Literal["first", "last"]


class RefineNet(SegmentationModel):
    """Multi-path refinement network for semantic segmentation (CVPR 2017, Fig. 2(c)).

    The defaults are the published network with four pooling blocks. Every row of the paper's ablation tables is a change of
    arguments. An smp `SegmentationModel`, with `save_pretrained`, `from_pretrained`, `push_to_hub` and `freeze_encoder`.

    Args:
        encoder_name: Any encoder of smp with features at 1/4 and deeper; encoders of timm have the prefix `tu-`.
        encoder_weights: `imagenet`, another name that smp knows, or None for random weights.
        in_channels: Channels of the image.
        classes: Channels of the logits.
        encoder_depth: Number of times that the encoder halves the image, 2 to 5. Features from 1/4 to 1/2**depth are used.
        cascade: Number of RefineNet blocks, 1 to 4 (Table 9).
        image_scales: Scales of the image, each with its own encoder: one scale, or two of about 2 to 1 with the larger first.
            (1.2, 0.6) is the paper's network with two scales and seven paths (Section 3.1, Table 9).
        width: Channels of the paths; 256 in the paper.
        deepest_width: Channels of the paths from the deepest features; 512 in the paper.
        path_rcus: Residual convolution units (RCUs) on each input path of a block; 2 in the paper.
        output_rcus: RCUs at the end of each block; 1 in the paper.
        head_rcus: RCUs before the classifier; 2 in the paper.
        pooling_blocks: Pooling blocks in each chained residual pooling. The CVPR paper has 2, and 4 for Person-Part and VOC
            2012; the authors' code has 4. 0 removes the pooling; the ReLU before it stays unless `pooling_relu` is False.
        pooling_order: `pool_conv` (CVPR) or `conv_pool` (the improved pooling of the authors' code).
        pooling_relu: Apply a ReLU before the chained residual pooling, as in the paper.
        shortcut: `identity`: ReLUs only on the residual branches (Section 3.3). `relu`: also one after each sum (in RCUs,
            fusion and pooling), which blocks the identity shortcuts.
        kernel_size: Kernel size of every convolution in the decoder; 3 in the paper. With 1 and no RCUs, the network is
            Light-Weight RefineNet.
        decoder_norm: `none` (the paper), or `group` for group normalization after the convolutions that adapt the encoder
            features and in the RCUs. Not in the paper.
        upsampling: `bilinear` (the paper), `bilinear_aligned` (the PyTorch ports) or `bicubic` (the authors' code).
        dropout: Dropout rate of encoder features wider than 512 channels.
        head_dropout: Dropout rate before the classifier; None for the value of `dropout`.
        input_scale: Factor by which the image is resized first; 1.2 in the authors' code. The logits still have the size of
            the original image.
        eight_bit_input: Round an image resized in this way to the 256 levels of 8-bit images, as the authors' code does because
            it resizes before it normalizes.
        decoder_init: `published` or `scaled`, see `refinenet_pl.models.decoder.initialize`.
        caffe_strides: Use the strides of the authors' ResNets, see `build_encoder`.
        normalization: Mean and standard deviation of the input, one value per channel, for images in 0..1; None for those of
            the encoder's ImageNet weights, whose mean over red, green and blue is used for each of another number of channels.
        void_channel: Position of void in the `classes` channels: `first`, `last`, or None if no channel means void. The network
            does not use it; evaluation and export do.
        aux_params: Arguments of smp's `ClassificationHead` on the deepest features; None for no such head.
        checkpoint_activations: In training, keep only the inputs of each part of a RefineNet block and recompute the rest in
            the backward pass. This needs less memory and about a third more time; the gradients are the same.

    Raises:
        ValueError: An argument is outside its range; the message names it.

    Attributes:
        encoder: The encoder; for two image scales an `nn.ModuleList` of two.
        decoder: The cascade of RefineNet blocks.
        segmentation_head: Dropout and the classifier, a 3x3 convolution.
        classification_head: Classifier of the whole image; None without `aux_params`.
        scales: Factor from the image to the input of each encoder.
        normalization: Mean and standard deviation of the input.
        files: Texts of files by name that `save_pretrained` and `push_to_hub` write beside the weights, such as `classes.json`,
            see `meaning_files`. A task sets them, and `from_pretrained` reads them from a directory.
    """

    requires_divisible_input_shape = False

    encoder: nn.Module
    decoder: RefineNetDecoder
    segmentation_head: nn.Sequential
    classification_head: nn.Module | None
    scales: tuple[float, ...]
    normalization: Normalization
    upsampling: Upsampling

    @supports_config_loading
    def __init__(
        self,
        encoder_name: str = "resnet101",
        encoder_weights: str | None = "imagenet",
        in_channels: int = 3,
        classes: int = 21,
        encoder_depth: int = 5,
        cascade: int = 4,
        image_scales: Sequence[float] = (1.0,),
        width: int = 256,
        deepest_width: int = 512,
        path_rcus: int = 2,
        output_rcus: int = 1,
        head_rcus: int = 2,
        pooling_blocks: int = 4,
        pooling_order: PoolingOrder = "pool_conv",
        pooling_relu: bool = True,
        shortcut: Shortcut = "identity",
        kernel_size: int = 3,
        decoder_norm: DecoderNorm = "none",
        upsampling: Upsampling = "bilinear",
        dropout: float = 0.5,
        head_dropout: float | None = None,
        input_scale: float = 1.0,
        eight_bit_input: bool = False,
        decoder_init: DecoderInit = "published",
        caffe_strides: bool = False,
        normalization: tuple[Sequence[float], Sequence[float]] | None = None,
        void_channel: VoidChannel | None = None,
        aux_params: dict | None = None,
        checkpoint_activations: bool = False,
    ):
        super().__init__()
        _check(cascade, image_scales, kernel_size, encoder_depth, input_scale)
        _check_counts(
            1, in_channels=in_channels, classes=classes, width=width, deepest_width=deepest_width, kernel_size=kernel_size
        )
        _check_counts(0, path_rcus=path_rcus, output_rcus=output_rcus, head_rcus=head_rcus, pooling_blocks=pooling_blocks)
        _check_choice("pooling_order", pooling_order, PoolingOrder)
        _check_choice("shortcut", shortcut, Shortcut)
        _check_choice("decoder_norm", decoder_norm, DecoderNorm)
        _check_choice("upsampling", upsampling, Upsampling)
        _check_choice("decoder_init", decoder_init, DecoderInit)
        if void_channel is not None:
            _check_choice("void_channel", void_channel, VoidChannel)
        if normalization is not None and [len(part) for part in normalization] != [in_channels] * 2:
            raise ValueError(
                f"normalization is {normalization}; give a mean and a standard deviation for each of {in_channels} channels"
            )
        encoders = [
            build_encoder(encoder_name, encoder_weights, in_channels, encoder_depth, caffe_strides) for _ in image_scales
        ]
        # A single encoder is not in a list, so that smp's methods and the names in checkpoints fit.
        self.encoder = encoders[0] if len(encoders) == 1 else nn.ModuleList(encoders)
        self.scales = tuple(input_scale * scale for scale in image_scales)
        self.upsampling = upsampling
        self.eight_bit_input = eight_bit_input
        self.decoder = RefineNetDecoder(
            # RefineNet does not use the maps at 1/1 and 1/2, and many encoders have none.
            [encoder.out_channels[2:] for encoder in encoders],
            cascade=cascade,
            width=width,
            deepest_width=deepest_width,
            path_rcus=path_rcus,
            output_rcus=output_rcus,
            head_rcus=head_rcus,
            pooling_blocks=pooling_blocks,
            pooling_order=pooling_order,
            pooling_relu=pooling_relu,
            shortcut=shortcut,
            kernel_size=kernel_size,
            norm=decoder_norm,
            upsampling=upsampling,
            dropout=dropout,
            checkpoint_activations=checkpoint_activations,
        )
        self.segmentation_head = nn.Sequential(
            Dropout(dropout if head_dropout is None else head_dropout),
            convolution(self.decoder.out_channels, classes, kernel_size=3, bias=True),
        )
        self.classification_head = ClassificationHead(encoders[0].out_channels[-1], **aux_params) if aux_params else None
        self.name = f"refinenet-{encoder_name}"
        self.normalization = normalization_of(encoder_name, in_channels)
        if normalization is not None:
            self.normalization = Normalization(*map(tuple, normalization))
        self.void_channel = void_channel
        self.files: dict[str, str] = {}
        initialize(self.decoder, self.segmentation_head, decoder_init)
        number_layers(self)
        # On CPUs, pooling and convolution are several times faster in this layout; on GPUs, tensor cores need it.
        self.to(memory_format=torch.channels_last)

    @property
    def encoders(self) -> list[nn.Module]:
        """The encoders, one for each image scale."""
        return list(self.encoder) if isinstance(self.encoder, nn.ModuleList) else [self.encoder]

    def features(self, x: Tensor) -> list[list[Tensor]]:
        """Compute the encoder features.

        Args:
            x: Images, float (N, in_channels, H, W), normalized with `normalization`.

        Returns:
            For each image scale, float maps (N, C, h, w) at 1/4, 1/8, ... of the scaled image.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        height, width = x.shape[-2:]
        features = []
        for encoder, scale in zip(self.encoders, self.scales, strict=True):
            size = symbolic_shapes.times(height, scale), symbolic_shapes.times(width, scale)
            scaled = x if scale == 1 else self._resized(x, size)
            features.append(list(encoder(scaled)[2:]))
        return features

    def _resized(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = resize(x, size, self.upsampling)
        if not self.eight_bit_input:
            return x
        mean, std = (x.new_tensor(values)[:, None, None] for values in self.normalization)
        levels = ((x * std + mean) * 255).round().clamp(0, 255)
        return (levels / 255 - mean) / std

    def score_map(self, x: Tensor) -> Tensor:
        """Compute the dense score map (Section 3.1), the logits before upsampling.

        Args:
            x: Images, float (N, in_channels, H, W), normalized with `normalization`.

        Returns:
            Float (N, classes, h, w), at 1/4 of the image of the largest scale.
        """
        return self.segmentation_head(self.decoder(self.features(x)))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Predict the class scores of each pixel.

        Args:
            x: Images of any size, float (N, in_channels, H, W), normalized with `normalization`.

        Returns:
            Logits, float (N, classes, H, W); with `aux_params` also the logits of the classification head, float
            (N, aux classes).
        """
        if self.classification_head is None:
            return resize(self.score_map(x), x.shape[-2:], self.upsampling)
        features = self.features(x)
        logits = resize(self.segmentation_head(self.decoder(features)), x.shape[-2:], self.upsampling)
        return logits, self.classification_head(features[0][-1])

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any) -> "RefineNet":
        """Load a network that `save_pretrained` wrote, in evaluation mode.

        Args:
            pretrained_model_name_or_path: A directory, or a name on the Hugging Face hub.
            *args: Arguments of huggingface_hub's `from_pretrained`.
            **kwargs: Arguments of huggingface_hub's `from_pretrained`, and arguments of the network that replace the saved
                ones. With `strict=False`, tensors that do not fit stay random, such as a classifier for other classes.

        Returns:
            The network.

        Raises:
            CheckpointError: The tensors do not fit the network that config.json describes, or are not finite.
        """
        # The file contains the encoder's weights; the defaults would first load or download ImageNet's. And huggingface_hub
        # does not load strictly by default: missing tensors would stay random without a message.
        options = {"encoder_weights": None, "strict": True} | kwargs
        try:
            network = super().from_pretrained(pretrained_model_name_or_path, *args, **options)
        except RuntimeError as error:
            if not is_mismatch(error):
                raise
            raise CheckpointError(
                f"{pretrained_model_name_or_path}: its tensors do not fit the network in its config.json: "
                f"{describe_mismatch(error)}"
            ) from None
        if problem := describe_nonfinite(network.state_dict()):
            raise CheckpointError(f"{pretrained_model_name_or_path}: {problem}")
        files = [Path(pretrained_model_name_or_path) / name for name in MEANING_FILES]
        network.files = {file.name: file.read_text(encoding="utf-8") for file in files if file.is_file()}
        return network

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights, and `files`, for `save_pretrained` and `push_to_hub`."""
        super()._save_pretrained(save_directory)
        for name, text in self.files.items():
            (save_directory / name).write_text(text, encoding="utf-8")

    def generate_model_card(self, *args: Any, **kwargs: Any) -> "ModelCard":
        """Generate smp's model card with the lines that load this class, and without smp's license.

        smp only loads its own architectures, and the license of the weights depends on the data.
        """
        card = super().generate_model_card(*args, **kwargs)
        card.data.license, card.data.library_name = None, "refinenet_pl"
        card.text = card.text.replace("import segmentation_models_pytorch as smp", "from refinenet_pl import RefineNet")
        card.text = card.text.replace("smp.from_pretrained", "RefineNet.from_pretrained")
        return card


def _check_counts(minimum: int, **counts: int) -> None:
    for argument, count in counts.items():
        if count < minimum:
            raise ValueError(f"{argument} is {count}; it must be at least {minimum}")


def _check_choice(argument: str, value: str, choices: object) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{argument} is {value!r}; it can be {' or '.join(map(repr, get_args(choices)))}")


def _check(cascade: int, image_scales: Sequence[float], kernel_size: int, encoder_depth: int, input_scale: float) -> None:
    if not 1 <= cascade <= 4:
        raise ValueError(f"cascade is {cascade}; it can be 1 to 4")
    if len(image_scales) == 2 and encoder_depth == 2:
        raise ValueError("encoder_depth is 2; two image_scales need at least 3, or the second encoder would not be used")
    if not 2 <= encoder_depth <= 5:
        raise ValueError(f"encoder_depth is {encoder_depth}; it can be 2 to 5")
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}; it must be odd to keep the size of the maps")
    if not all(scale > 0 for scale in (*image_scales, input_scale)):
        raise ValueError(f"image_scales {tuple(image_scales)} and input_scale {input_scale} must be greater than 0")
    if len(image_scales) not in (1, 2) or list(image_scales) != sorted(set(image_scales), reverse=True):
        raise ValueError(f"image_scales is {tuple(image_scales)}; give one scale, or two with the larger first")
