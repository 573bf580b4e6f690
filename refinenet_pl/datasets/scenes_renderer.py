"""Renderer of the objects in synthetic scenes; scenes.py decides which of them an image contains."""

from functools import lru_cache

import numpy as np

# Difficulty of the images. Intensities are in 0..1; lengths are in pixels of an image of 128x128.
PIXEL_NOISE = 0.07  # Standard deviation of the camera noise per pixel.
TEXTURE = 0.09  # Standard deviation of meadow and crop; above PIXEL_NOISE, or they cannot be distinguished.
GRAIN = 0.06  # Standard deviation of all other textures.
BRIGHTNESS = 0.18  # Standard deviation of the log brightness of an image.
COLOR_CAST = 0.12  # Standard deviation of the log gain of each channel.
POLE_CONTRAST = (0.15, 0.35)  # Contrast of poles and wires with their background.
CUE_RADIUS = (7, 10)  # Sun and moon, the cue for balls and lamps.
FLAG_SIDE = (9, 12)  # Flags, the cue for road and river.
BALL_RADIUS = (4, 8.5)
CAMERA_HEIGHT = 1.6  # Meters above the ground; the focal length is the image's height.
FARTHEST = 80.0  # Meters, beyond which the depth is unknown.
CUE_FLOOR, BALL_CEILING = 0.26, 0.59  # Lower limit of cues and upper limit of balls, in image heights: 42 pixels apart.

GRAY = np.full((3, 3), 1 / 3, np.float32)  # Projects a color to its mean.
SKY, MEADOW, CROP, ROAD, RIVER, BUILDING, TREE, POLE, FLAG, BALL, LAMP = range(11)


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """RGB color, float32 (3,) in 0..1; hue is in turns."""
    ramps = (min(max(abs((hue * 6 + shift) % 6 - 3) - 1, 0), 1) for shift in (0, 4, 2))
    return np.array([value * (1 - saturation + saturation * ramp) for ramp in ramps], np.float32)


@lru_cache(maxsize=32)
def _noise(side: int, blur: float) -> np.ndarray:
    """Smooth noise from which all images are cropped; cached, because its computation costs more than the rest of an image.

    Returns:
        float32 (2 * side, 2 * side), mean 0, standard deviation 1, with lumps of about `blur` pixels in radius.
    """
    white = np.random.default_rng(side).standard_normal((2 * side, 2 * side))
    frequency = np.fft.fftfreq(2 * side)
    keep = np.exp(-2 * (np.pi * blur) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    smooth = np.fft.ifft2(np.fft.fft2(white) * keep).real
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)


class SceneRenderer:
    """Renderer of one image; objects that are rendered later cover earlier ones.

    Args:
        rng: Source of all random numbers.
        size: Height and width in pixels.

    Attributes:
        image: float32 (size, size, 3), about 0..1.
        label: uint8 (size, size), class ids.
        thing: uint8 (size, size), number of the visible object; 0 for sky, ground and poles.
        depth: float32 (size, size), distance in meters; NaN for the sky, flags, and lines without a base on the ground.
        light: (column, row) of the center of the sun or moon.
        flags: (column, row) of the centers of the flags.
    """

    def __init__(self, rng: np.random.Generator, size: int):
        self.rng = rng
        self.size = size
        self.unit = size / 128
        self.x = np.arange(size, dtype=np.float32)
        self.y = self.x[:, None]
        self.image = np.zeros((size, size, 3), np.float32)
        self.label = np.full((size, size), SKY, np.uint8)
        self.thing = np.zeros((size, size), np.uint8)
        self.depth = np.full((size, size), np.nan, np.float32)
        self.light = (0.0, 0.0)
        self.flags: list[tuple[float, float]] = []
        self.things = 0
        self.horizon = size * rng.uniform(0.4, 0.5)
        self.ground_hue = rng.uniform(0.05, 0.4)

    def between(self, low: float, high: float) -> float:
        """Uniformly sampled length, in pixels of this image."""
        return self.unit * (low + (high - low) * self.rng.random())

    def slots(self, count: int, of: int) -> np.ndarray:
        """Columns with some distance between them, float64 (count,): one near the center of each of `count` of `of` slots."""
        return (self.rng.permutation(of)[:count] + self.rng.uniform(0.3, 0.7, count)) * self.size / of

    def lumps(self, shape: tuple[int, int], blur: float) -> np.ndarray:
        """Random crop of smooth noise, float32 of that shape, which must not exceed the image's."""
        noise = _noise(self.size, blur * self.unit)
        top, left = self.rng.integers(0, self.size, 2)
        return noise[top : top + shape[0], left : left + shape[1]]

    def box(self, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
        """Rows and columns that contain a rectangle, clipped to the image."""
        rows, columns = (slice(max(int(low), 0), max(int(high) + 2, 0)) for low, high in ((top, bottom), (left, right)))
        return rows, columns

    def ground_depth(self, row: np.ndarray | float) -> np.ndarray:
        """Distance in meters of the ground at a row: NaN above the horizon and beyond `FARTHEST`."""
        below = np.maximum(np.asarray(row, np.float32) - np.float32(self.horizon), 1e-6)
        depth = CAMERA_HEIGHT * self.size / below
        return np.where(depth <= FARTHEST, depth, np.nan).astype(np.float32)

    def paint(
        self,
        box: tuple[slice, slice],
        inside: np.ndarray,
        color: np.ndarray,
        label: int,
        thing: bool,
        depth: np.ndarray | float = np.nan,
    ) -> None:
        """Fill a shape.

        Args:
            box: Rows and columns, (height, width), that contain the shape.
            inside: bool (height, width).
            color: Broadcasts to (height, width, 3).
            label: Class id.
            thing: True for an object, which has a void line around it.
            depth: Distance in meters; broadcasts to (height, width).
        """
        self.things += thing
        np.copyto(self.image[box], color, where=inside[..., None])
        self.label[box][inside] = label
        self.thing[box][inside] = self.things if thing else 0
        np.copyto(self.depth[box], depth, where=inside)

    def sky(self, moon: bool, column: float) -> None:
        """Sky with clouds and a sun or moon, whose class is sky too. Day and night are equally bright."""
        hue, saturation, value = self.rng.uniform((-0.1, 0.1, 0.3), (0.7, 0.45, 0.7))
        self.image[:] = _rgb(hue, saturation, value) + GRAIN * self.lumps((self.size, self.size), 10)[..., None]
        radius = self.between(*CUE_RADIUS)
        row = self.rng.uniform(radius + 2, CUE_FLOOR * self.size - radius)
        self.light = column, row
        shadow = column + self.rng.choice((-0.6, 0.6)) * radius
        box = self.box(column - radius, row - radius, column + radius, row + radius)
        x, y = self.x[box[1]], self.y[box[0]]
        inside = (x - column) ** 2 + (y - row) ** 2 < radius**2
        if moon:
            inside &= (x - shadow) ** 2 + (y - row) ** 2 > (0.9 * radius) ** 2
        self.paint(box, inside, np.array((0.85, 0.95, 1.1) if moon else (1.1, 0.9, 0.45)), SKY, thing=False)

    def ground(self) -> None:
        """Meadow and crop: patches of the same color that differ only in texture, lumps and rows of plants."""
        top = int(self.horizon)
        x, y = self.x, self.y[top:]
        patches = np.zeros((self.size - top, self.size), bool)
        for _ in range(2):
            border = self.rng.uniform(-0.7, 0.7) + self.rng.integers(2) * np.pi / 2
            column, row = self.rng.uniform((0.3, 0.6), (0.7, 0.9)) * self.size
            patches ^= (x - column) * np.sin(border) + (y - row) * np.cos(border) > 0
        angle, period = self.rng.uniform(0, np.pi), self.between(5, 8)
        bend = 0.5 * self.lumps(patches.shape, 10)
        rows = np.sqrt(2) * np.sin((x * np.sin(angle) + y * np.cos(angle)) * (2 * np.pi / period) + bend)
        texture = np.where(patches, rows, self.lumps(patches.shape, 2))
        color = _rgb(self.ground_hue, self.rng.uniform(0.15, 0.55), self.rng.uniform(0.35, 0.65))
        box = slice(top, self.size), slice(0, self.size)
        self.paint(box, np.ones_like(patches), color + TEXTURE * texture[..., None], MEADOW, False, self.ground_depth(y))
        self.label[box][patches] = CROP

    def band(self, river: bool) -> None:
        """Road or river from the horizon to the foreground; they look the same."""
        top = int(self.horizon)
        box = slice(top, self.size), slice(0, self.size)
        depth = (self.y[box[0]] - top) / (self.size - top)
        start, end = self.rng.uniform((0.2, 0.1), (0.8, 0.9)) * self.size
        bend = self.between(-20, 20)
        middle = start + (end - start) * depth + bend * np.sin(np.pi * depth)
        inside = np.abs(self.x - middle) < 1 + depth * self.between(13, 24)
        color = _rgb(self.rng.uniform(0, 1), self.rng.uniform(0, 0.25), self.rng.uniform(0.3, 0.7))
        texture = GRAIN * self.lumps(inside.shape, 1)[..., None]
        self.paint(box, inside, color + texture, RIVER if river else ROAD, False, self.ground_depth(self.y[box[0]]))

    def building(self, column: float, base: float, scale: float) -> None:
        """House with windows and a gable or flat roof; its base is centered at (column, base)."""
        half = scale * self.between(7, 16)
        height = min(scale * self.between(16, 44), base - (CUE_FLOOR + 0.02) * self.size)
        gable = self.rng.choice((0, 0.3)) * height
        ridge, eaves = base - height, base - height + gable
        box = self.box(column - half, ridge, column + half, base)
        x, y = self.x[box[1]] - column + half, self.y[box[0]]
        inside = (y <= base) & (np.abs(x - half) <= half * ((y - ridge) / (gable + 1e-6)).clip(0, 1))
        (period, storey), (first, frame) = self.between(4.5, 9) * self.rng.uniform(1, 1.4, 2), self.rng.uniform(0.25, 0.5, 2)
        windows = ((x % period) > period * first) & (((y - eaves) % storey) > storey * frame) & (y > eaves)
        wall, roof = (_rgb(*self.rng.uniform((0, 0, 0.3), (1, 0.5, 0.8))) for _ in range(2))
        color = np.where(windows[..., None], wall * self.rng.choice((0.5, 1.5)), np.where(y[..., None] < eaves, roof, wall))
        texture = GRAIN * self.lumps(inside.shape, 1)[..., None]
        self.paint(box, inside, color + texture, BUILDING, True, self.ground_depth(base))

    def tree(self, column: float, base: float, scale: float) -> None:
        """Tree with a ragged outline, or bush if the scale is small, with about the ground's hue."""
        radius = min(scale * self.between(6, 13), (base - (CUE_FLOOR + 0.02) * self.size) / 2.7)
        middle, trunk = base - 1.5 * radius, max(1, 0.12 * radius)
        reach = 1.3 * radius
        box = self.box(column - reach, middle - reach, column + reach, base)
        x, y = self.x[box[1]] - column, self.y[box[0]] - middle
        leaves = self.lumps((y.shape[0], x.shape[0]), 2)
        crown = np.hypot(x, y) / radius + 0.12 * leaves < 1
        stem = (np.abs(x) <= trunk) & (y > 0) & (y <= base - middle)
        hue = self.ground_hue + self.rng.uniform(-0.08, 0.08)
        color, bark = _rgb(hue, *self.rng.uniform((0.2, 0.25), (0.6, 0.55))), _rgb(0.07, 0.3, 0.3)
        shade = 1.2 * GRAIN * (leaves - (x + y) / radius)
        color = np.where(crown[..., None], color + shade[..., None], bark)
        self.paint(box, crown | stem, color, TREE, True, self.ground_depth(base))

    def ball(self, column: float, row: float, radius: float, lamp: bool) -> None:
        """Ball or lamp, which look the same: any color, bright on one side."""
        box = self.box(column - radius, row - radius, column + radius, row + radius)
        x, y = (self.x[box[1]] - column) / radius, (self.y[box[0]] - row) / radius
        light = 1.15 - 0.45 * np.hypot(x + 0.35, y + 0.35)
        color = light[..., None] * _rgb(*self.rng.uniform((0, 0.2, 0.45), (1, 0.8, 0.95)))
        self.paint(box, x**2 + y**2 < 1, color, LAMP if lamp else BALL, True, self.ground_depth(row + radius))

    def flag(self, column: float, red: bool) -> tuple[float, float, float, float]:
        """Flag high in the sky.

        Returns:
            Arguments of `line` for its mast, which is rendered later.
        """
        width, height = self.between(*FLAG_SIDE) * 1.2, self.between(*FLAG_SIDE)
        row = self.rng.uniform(0.03 * self.size, CUE_FLOOR * self.size - height)
        box = self.box(column, row, column + width, row + height)
        self.flags.append((column + width / 2, row + height / 2))
        wave = row + self.unit * np.sin((self.x[box[1]] - column) / self.unit / 2)
        inside = (self.y[box[0]] >= wave) & (self.y[box[0]] < wave + height - 1)
        color = _rgb((0.0 if red else 0.6) + self.rng.uniform(-0.04, 0.04), *self.rng.uniform((0.6, 0.5), (0.9, 0.9)))
        self.paint(box, inside, color + GRAIN * self.lumps(inside.shape, 1)[..., None], FLAG, thing=True)
        return column - 1, row, column - 1 + self.between(-3, 3), self.horizon + self.between(4, 16)

    def line(self, x0: float, y0: float, x1: float, y1: float, sag: float = 0.0, width: int = 1) -> None:
        """Pole, stick or wire, 1 or 2 pixels wide, from (x0, y0) to (x1, y1); without a void line, which would cover it."""
        count = int(1.5 * max(abs(x1 - x0), abs(y1 - y0), 2))
        along = np.arange(count) / (count - 1)
        columns = np.rint(x0 + (x1 - x0) * along).astype(int)
        rows = np.rint(y0 + (y1 - y0) * along + 4 * sag * along * (1 - along)).astype(int)
        shade = (-1 if self.rng.random() < 0.7 else 1) * self.rng.uniform(*POLE_CONTRAST)
        if width == 2:
            aside = (0, 1) if abs(y1 - y0) > abs(x1 - x0) else (1, 0)
            rows, columns = np.concatenate((rows, rows + aside[0])), np.concatenate((columns, columns + aside[1]))
        seen = (rows >= 0) & (rows < self.size) & (columns >= 0) & (columns < self.size)
        pixels = rows[seen], columns[seen]
        self.image[pixels] = self.image[pixels] @ GRAY + shade
        self.label[pixels] = POLE
        self.depth[pixels] = self.ground_depth(max(y0, y1))  # of its lower end

    def void(self, ignore_index: int) -> None:
        """Mark the outlines of objects, 1 or 2 pixels wide, as void. Must be called before poles are rendered."""
        below, right = self.thing[1:] != self.thing[:-1], self.thing[:, 1:] != self.thing[:, :-1]
        self.label[:-1][below] = ignore_index
        self.label[:, :-1][right] = ignore_index

    def photograph(self) -> np.ndarray:
        """Photograph of the scene, uint8 (size, size, 3), with random brightness and tint, and noise."""
        gain = np.exp(BRIGHTNESS * self.rng.standard_normal() + COLOR_CAST * self.rng.standard_normal(3))
        noise = self.rng.standard_normal(self.image.shape, dtype=np.float32)
        noise *= 255 * PIXEL_NOISE
        noise += self.image * (255 * gain).astype(np.float32)
        return np.clip(noise, 0, 255, out=noise).astype(np.uint8)
