"""Fonts and formatting for class names in any script: in images, figures and tables."""

import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from PIL import ImageFont

MISSING = "\ufffd"
"""Replacement for characters that no font has."""

# Results of the search for characters that DejaVu Sans lacks: a font file, or None.
_found: dict[str, str | None] = {}


@cache
def base_font() -> str:
    """Return the file of DejaVu Sans, which is part of matplotlib and has Latin, Greek, Cyrillic, Arabic, Hebrew and more."""
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def find_fonts(text: str) -> dict[str, str | None]:
    """Find installed fonts for the characters of a text that DejaVu Sans lacks.

    Warns about characters that no font has, once for each character.

    Returns:
        Font file of each of these characters; None if no font has it.
    """
    lacking = {c for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")} - _base_characters()
    new = lacking - _found.keys()
    if new:
        _found.update(dict.fromkeys(new) | _search(new))
        _warn(sorted(character for character in new if _found[character] is None))
    return {character: _found[character] for character in lacking}


def one_line(name: str) -> str:
    """Remove line breaks and control characters from a name, and replace bytes that are not UTF-8, which cannot be printed."""
    replacements = {"Cc": " ", "Cs": MISSING}
    return " ".join("".join(replacements.get(unicodedata.category(character), character) for character in name).split())


def shorten(name: str, length: int) -> str:
    """Shorten a name to at most `length` characters by replacing its middle with an ellipsis."""
    if len(name) <= length:
        return name
    return f"{name[: length // 2].rstrip()}…{name[len(name) - (length - 1) // 2 :].lstrip()}"


def figure_names(names: Sequence[str], length: int = 40) -> list[str]:
    """Format names for figures: on a single line, shortened to `length`, and without characters that no font has."""
    composed = [unicodedata.normalize("NFC", one_line(name)) for name in names]
    fonts = find_fonts("".join(composed))
    table = {ord(character): MISSING for character, font in fonts.items() if font is None}
    return [shorten(name.translate(table), length) for name in composed]


def show_literally(figure: Figure) -> None:
    """Render all texts of a figure literally, with fonts for all their characters and without math formulas or TeX."""
    texts = figure.findobj(Text)
    fonts = find_fonts("".join(text.get_text() for text in texts))
    families = ["DejaVu Sans", *(_family(font) for font in sorted(set(filter(None, fonts.values()))))]
    for text in texts:
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_fontfamily([*text.get_fontfamily(), *families])


@cache
def _family(font: str) -> str:
    """Register a font file with matplotlib and return its family."""
    font_manager.fontManager.addfont(font)
    return FT2Font(font).family_name


@cache
def _base_characters() -> frozenset[str]:
    return frozenset(map(chr, FT2Font(base_font()).get_charmap()))


def _search(characters: set[str]) -> dict[str, str]:
    """Find font files for characters, as few as possible and preferably regular sans-serif ones."""
    covered: dict[str, set[str]] = {}
    regular: dict[str, tuple[bool, bool]] = {}
    for path in sorted(font_manager.findSystemFonts()):
        try:
            font = FT2Font(path)
            covered[path] = characters.intersection(map(chr, font.get_charmap()))
        except Exception:  # damaged, or not supported by FreeType
            continue
        # The Last Resort font has a placeholder box for every character.
        if "lastresort" in path.lower():
            covered[path] = set()
        regular[path] = font.style_name in ("Regular", "Book"), "Sans" in font.family_name
    fonts: dict[str, str] = {}
    while covered:
        best = max(covered, key=lambda path: (len(covered[path]), regular[path]))
        here = covered.pop(best)
        if not here:
            break
        if _renders(best, here):
            fonts |= dict.fromkeys(here, best)
            covered = {path: rest - here for path, rest in covered.items()}
    return fonts


def _renders(font: str, characters: set[str]) -> bool:
    """Return True for a font with outlines; color emoji fonts have bitmaps of a single size instead."""
    try:
        return ImageFont.truetype(font, 20).getmask(min(characters)).getbbox() is not None
    except Exception:  # for damaged fonts, Pillow raises errors of almost any type
        return False


def _warn(missing: list[str]) -> None:
    if missing:
        shown = "".join(missing[:30]) + ("..." if len(missing) > 30 else "")
        warnings.warn(
            f"no installed font has the characters {shown}, so {MISSING} is shown instead; install a font, such as Noto Sans "
            "CJK for Chinese, Japanese and Korean (Debian: fonts-noto-cjk), Noto Sans for other scripts (fonts-noto-core) or "
            "Symbola for symbols (fonts-symbola)",
            stacklevel=3,
        )
