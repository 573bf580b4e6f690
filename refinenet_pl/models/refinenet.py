"""RefineNet: encoder, cascade of RefineNet blocks, classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from segmentation_models_pytorch.base import ClassificationHead, SegmentationModel
from segmentation_models_pytorch.base.hub_mixin import supports_config_loading
from torch import Tensor, nn

from refinenet_pl.errors import CheckpointError
from refinenet_pl.models.blocks import PoolingOrder, Shortcut, convolution
from refinenet_pl.models.decoder import DecoderInit, RefineNetDecoder, initialize
from refinenet_pl.models.encoders import Normalization, build_encoder, normalization_of
from refinenet_pl.models.ops import symbolic_shapes
from refinenet_pl.models.ops.dropout import Dropout, number_layers
from refinenet_pl.models.ops.resize import Upsampling, resize
from refinenet_pl.state_dicts import describe_mismatch, describe_nonfinite, is_mismatch

VoidChannel = Literal["first", "last"]


class RefineNet(SegmentationModel):
    """Multi-path refinement network for semantic segmentation (Lin, Milan, Shen, Reid; CVPR 2017 and TPAMI 2019).

    The defaults are the published network with four pooling blocks; every row of the paper's ablation tables is a change of
    arguments. An smp `SegmentationModel`: `save_pretrained`, `from_pretrained`, `push_to_hub`, `freeze_encoder`.

    Args:
        encoder_name: Any smp encoder with features at 1/4 and below; timm's behind `tu-`.
        encoder_weights: `imagenet`, another name that smp knows, or None for random weights.
        in_channels: Channels of the picture.
        classes: Channels of the logits.
        encoder_depth: Number of halvings in the encoder, 2 to 5; features from 1/4 to 1/2**depth are used.
        cascade: Number of RefineNet blocks, 1 to 4 (Table 9).
        image_scales: Scales at which the picture enters encoders of their own. (1.2, 0.6) is the paper's 2-scale, 7-path
            network (Table 9); two scales, the larger first, about 2 to 1.
        width: Channels of the paths; 256 in the paper.
        deepest_width: Channels of the paths from the deepest features; 512 in the paper.
        path_rcus: Residual convolution units on each input path of a block; 2 in the paper.
        output_rcus: RCUs at the end of each block; 1 in the paper.
        head_rcus: RCUs before the classifier; 2 in the paper.
        pooling_blocks: Pooling blocks in each chained residual pooling. The CVPR paper has 2, and 4 for Person-Part and VOC
            2012; the authors' code has 4. 0 leaves the pooling out; the ReLU before it stays unless `pooling_relu` is False.
        pooling_order: `pool_conv` (CVPR) or `conv_pool` (the later improved pooling).
        pooling_relu: Whether chained residual pooling rectifies its input.
        shortcut: `identity`: ReLUs on the branches alone. `relu`: one after each sum (in RCUs, fusion and pooling), which
            blocks the shortcuts.
        kernel_size: Of every convolution in the decoder; 3 in the paper. With 1 and no RCUs this is Light-Weight RefineNet.
        upsampling: `bilinear` (the paper), `bilinear_aligned` (the PyTorch ports), `bicubic` (the authors' code).
        dropout: Rate on encoder features wider than 512 channels.
        head_dropout: Rate before the classifier; None for the same as `dropout`.
        input_scale: Factor by which the picture is resized before everything; the authors' code has 1.2. Logits come at the
            picture's size all the same.
        eight_bit_input: Whether the picture so resized is rounded to the 256 levels of 8-bit pictures, as in the authors' code,
            which resizes before it normalises.
        decoder_init: `published` or `scaled`, see `refinenet_pl.models.decoder`.
        caffe_strides: The authors' ResNets, see `build_encoder`.
        normalization: Mean and standard deviation, one value for each of red, green and blue, of what the encoder was trained
            on, for pictures in 0..1; None for those of its ImageNet weights.
        void_channel: Which of the `classes` channels means void: `first`, `last`, or None where none does. The network is the
            same; what evaluates it must know.
        aux_params: Arguments of smp's `ClassificationHead` on the deepest features, or None for no such head.
        checkpoint_activations: Whether training keeps only what enters each part of a RefineNet block and computes the rest
            anew in the backward pass: less memory for about a third more time. The gradients are the same.

    Raises:
        ValueError: An argument outside its range; the message says which.
    """

    requires_divisible_input_shape = False

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
        _check_choice("upsampling", upsampling, Upsampling)
        _check_choice("decoder_init", decoder_init, DecoderInit)
        if void_channel is not None:
            _check_choice("void_channel", void_channel, VoidChannel)
        if normalization is not None and [len(part) for part in normalization] != [in_channels] * 2:
            raise ValueError(
                f"normalization is {normalization}; it must be a mean and a deviation for each of {in_channels} channels"
            )
        encoders = [
            build_encoder(encoder_name, encoder_weights, in_channels, encoder_depth, caffe_strides) for _ in image_scales
        ]
        # A single encoder keeps smp's place for it, so that smp's own methods and checkpoints' names fit.
        self.encoder = encoders[0] if len(encoders) == 1 else nn.ModuleList(encoders)
        self.scales = tuple(input_scale * scale for scale in image_scales)
        self.upsampling = upsampling
        self.eight_bit_input = eight_bit_input
        self.decoder = RefineNetDecoder(
            # The maps at 1/1 and 1/2 are skipped: RefineNet does not use them, and many encoders have none.
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
        self.normalization = normalization_of(encoder_name) if normalization is None else Normalization(*normalization)
        self.void_channel = void_channel
        initialize(self.decoder, self.segmentation_head, decoder_init)
        number_layers(self)
        # Pooling and convolution are several times faster in this layout on CPUs, and it is the one of GPUs' matrix units.
        self.to(memory_format=torch.channels_last)

    @property
    def encoders(self) -> list[nn.Module]:
        """The encoders, one for each image scale."""
        return list(self.encoder) if isinstance(self.encoder, nn.ModuleList) else [self.encoder]

    def features(self, x: Tensor) -> list[list[Tensor]]:
        """Encoder features.

        Args:
            x: Float (N, in_channels, H, W), normalised as `normalization` says.

        Returns:
            For each image scale, float maps (N, C, h, w) at 1/4, 1/8, ... of the scaled picture.
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
        """Logits before they are enlarged: float (N, in_channels, H, W) -> (N, classes, h, w) at 1/4 of the scaled picture."""
        return self.segmentation_head(self.decoder(self.features(x)))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Predict class scores.

        Args:
            x: Float (N, in_channels, H, W) of any size, normalised as `normalization` says.

        Returns:
            Logits, float (N, classes, H, W); with `aux_params` also the classification logits, float (N, aux classes).
        """
        if self.classification_head is None:
            return resize(self.score_map(x), x.shape[-2:], self.upsampling)
        features = self.features(x)
        logits = resize(self.segmentation_head(self.decoder(features)), x.shape[-2:], self.upsampling)
        return logits, self.classification_head(features[0][-1])

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *args, **kwargs) -> "RefineNet":
        """Load what `save_pretrained` wrote, from a directory or the Hugging Face hub, in evaluation mode.

        Args:
            pretrained_model_name_or_path: The directory, or the name on the hub.
            args: Of huggingface_hub's `from_pretrained`.
            kwargs: Of huggingface_hub's `from_pretrained`, and arguments of the network that replace the saved ones. With
                `strict=False`, tensors that do not fit, such as those of a classifier for other classes, stay random.

        Raises:
            CheckpointError: The tensors are not those of the network that the configuration describes, or not finite.
        """
        # The file holds the encoder's weights; without this they would first be loaded, or even downloaded, from elsewhere.
        # huggingface_hub itself does not load strictly: tensors that are missing would stay random without a word.
        options = {"encoder_weights": None, "strict": True} | kwargs
        try:
            network = super().from_pretrained(pretrained_model_name_or_path, *args, **options)
        except RuntimeError as error:
            if not is_mismatch(error):
                raise
            raise CheckpointError(
                f"{pretrained_model_name_or_path}: its tensors are not those of the network in its config.json: "
                f"{describe_mismatch(error)}"
            ) from None
        if problem := describe_nonfinite(network.state_dict()):
            raise CheckpointError(f"{pretrained_model_name_or_path}: {problem}")
        return network

    def generate_model_card(self, *args, **kwargs):
        """smp's model card, with the lines that load this class: smp looks its own architectures up only."""
        card = super().generate_model_card(*args, **kwargs)
        card.text = card.text.replace("import segmentation_models_pytorch as smp", "from refinenet_pl import RefineNet")
        card.text = card.text.replace("smp.from_pretrained", "RefineNet.from_pretrained")
        return card


def _check_counts(least: int, **counts: int) -> None:
    for argument, count in counts.items():
        if count < least:
            raise ValueError(f"{argument} is {count}; it must be at least {least}")


def _check_choice(argument: str, value: str, choices) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{argument} is {value!r}; it can be {' or '.join(map(repr, get_args(choices)))}")


def _check(cascade: int, image_scales: Sequence[float], kernel_size: int, encoder_depth: int, input_scale: float) -> None:
    if not 1 <= cascade <= 4:
        raise ValueError(f"cascade is {cascade}; a cascade has 1 to 4 blocks")
    if len(image_scales) == 2 and encoder_depth == 2:
        raise ValueError("encoder_depth is 2; two image_scales need at least 3, or nothing would read the second encoder")
    if not 2 <= encoder_depth <= 5:
        raise ValueError(f"encoder_depth is {encoder_depth}; it can be 2 to 5")
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}; it must be odd, or maps would change their size")
    if not all(scale > 0 for scale in (*image_scales, input_scale)):
        raise ValueError(f"image_scales {tuple(image_scales)} and input_scale {input_scale} must be greater than 0")
    if len(image_scales) not in (1, 2) or list(image_scales) != sorted(set(image_scales), reverse=True):
        raise ValueError(f"image_scales is {tuple(image_scales)}; give one scale, or two with the larger first")
