"""Pixels of an image as figures and files show them."""

import numpy as np


def shown_pixels(image: np.ndarray) -> np.ndarray:
    """Convert an image with any number of channels to RGB.

    Args:
        image: uint8 or float (height, width, channels) in about 0..255, see `ImageFormat.convert`.

    Returns:
        uint8 (height, width, 3): the first three channels or, of images with one or two, the first one in gray, rounded and
        clipped; an image in 8-bit RGB itself.
    """
    if image.shape[2] == 3 and image.dtype == np.uint8:
        return image
    channels = image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)
    return np.clip(np.rint(channels), 0, 255).astype(np.uint8)
