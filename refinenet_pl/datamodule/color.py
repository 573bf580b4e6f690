"""Random color changes of training images."""

from typing import Any

from torchvision import tv_tensors
from torchvision.transforms import v2

from refinenet_pl.datasets.image_format import ImageFormat


class ColorJitter(v2.ColorJitter):
    """Change brightness, contrast and saturation by one strength, also of floating-point images in 0..255.

    For images of floating-point numbers, torchvision's transform is for 0..1. Values outside 0..255 are clipped.

    Args:
        strength: Max relative change of each, as torchvision defines it.
    """

    def __init__(self, strength: float):
        super().__init__(brightness=strength, contrast=strength, saturation=strength)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Change an image; other inputs are returned unchanged."""
        if not (isinstance(inpt, tv_tensors.Image) and inpt.is_floating_point()):
            return super().transform(inpt, params)
        changed = super().transform(tv_tensors.wrap(inpt / 255, like=inpt), params)
        return tv_tensors.wrap(changed * 255, like=inpt)


def refuse_color_jitter(strength: float, format: ImageFormat | None) -> None:
    """Raise a ValueError if color jitter is requested for images without three channels."""
    if strength and format is not None and format.channels != 3:
        raise ValueError(
            f"data.color_jitter is {strength}, but the images have {format.channels} channels instead of red, green and blue; "
            "set --data.color_jitter 0"
        )
