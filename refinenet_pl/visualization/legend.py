"""Legend of a prediction: colors and names of its classes, in rows."""

import unicodedata
from bisect import bisect_right
from functools import lru_cache
from itertools import groupby
from operator import itemgetter

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from refinenet_pl.datasets.classes import Classes
from refinenet_pl.visualization.fonts import base_font, figure_names, find_fonts


def legend(size: tuple[int, int], present: np.ndarray, classes: Classes) -> np.ndarray:
    """Render a legend to append below an image.

    Args:
        size: Height and width of the image in pixels.
        present: Ids of the classes to list; ids that are not classes are ignored.
        classes: Names and colors.

    Returns:
        uint8, (height of the legend, width, 3), on a white background. Names that are wider than the image are wrapped.
    """
    height, width = size
    edge = max(11, min(height, width) // 24)
    line_height, margin, indent = round(edge * 1.6), edge // 2, 1.4 * edge
    # All classes at once, so that a single warning reports all missing characters.
    names = figure_names(classes.names, length=200)
    writer = Writer("".join(names), edge)
    entries, x, y, row_lines = [], margin, margin, 1
    for label in (label for label in np.asarray(present).tolist() if label < len(classes)):
        lines = writer.wrap(names[label], width - margin - indent)
        extent = round(2.2 * edge + max(map(writer.length, lines)))
        if x + extent > width and x > margin:
            x, y, row_lines = margin, y + row_lines * line_height, 1
        entries.append((x, y, lines, classes.palette[label]))
        x, row_lines = x + extent, max(row_lines, len(lines))
    canvas = Image.new("RGB", (width, y + row_lines * line_height), "white")
    draw = ImageDraw.Draw(canvas)
    for x, y, lines, color in entries:
        draw.rectangle((x, y, x + edge, y + edge), fill=tuple(color), outline="black")
        for number, line in enumerate(lines):
            writer.write(draw, (x + indent, y + number * line_height + 0.88 * edge), line)
    return np.array(canvas)


class Writer:
    """Writer of text that combines several fonts.

    Args:
        text: All characters to be written.
        size: Font size in pixels.
    """

    def __init__(self, text: str, size: int):
        self._fonts = find_fonts(text)
        self._size = size

    def length(self, text: str) -> float:
        """Return the width of a line in pixels."""
        return sum(font.getlength(piece) for font, piece in self._pieces(text))

    def wrap(self, text: str, width: float) -> list[str]:
        """Break a text into lines of a max width, at spaces if possible; each line has at least one character."""
        lines = []
        while text:
            end = max(1, bisect_right(range(1, len(text) + 1), width, key=lambda number: self.length(text[:number])))
            if end < len(text):
                end = max(text.rfind(" ", 0, end + 1), 0) or end
            lines.append(text[:end])
            text = text[end:].lstrip()
        return lines or [""]

    def write(self, draw: ImageDraw.ImageDraw, start: tuple[float, float], text: str) -> None:
        """Write a line that starts at the left end of its baseline."""
        x, y = start
        for font, piece in self._pieces(text):
            draw.text((x, y), piece, fill="black", font=font, anchor="ls")
            x += font.getlength(piece)

    def _pieces(self, text: str) -> list[tuple[ImageFont.FreeTypeFont, str]]:
        """Split a line into parts with the same font; combining marks use the font of their letter."""
        files: list[str] = []
        for character in text:
            combines = files and unicodedata.category(character) in ("Mn", "Me", "Cf")
            files.append(files[-1] if combines else self._fonts.get(character) or base_font())
        parts = groupby(zip(files, text, strict=True), key=itemgetter(0))
        return [(_font(file, self._size), "".join(character for _, character in part)) for file, part in parts]


@lru_cache(maxsize=32)
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)
