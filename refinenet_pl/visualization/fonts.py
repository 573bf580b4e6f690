"""Names in any script, on images, in figures and in tables."""

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
"""The character shown in place of one that no font has."""

# What was found of each character that DejaVu Sans lacks: a font file, or None.
_found: dict[str, str | None] = {}


@cache
def base_font() -> str:
    """The file of DejaVu Sans, which comes with matplotlib and has Latin, Greek, Cyrillic, Arabic, Hebrew and more."""
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def find_fonts(text: str) -> dict[str, str | None]:
    """Find installed fonts with the characters of a text that DejaVu Sans lacks.

    Characters that no font has are named in a warning when they first occur.

    Returns:
        The font file of each of these characters, None for those that no font has.
    """
    lacking = {c for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")} - _base_characters()
    new = lacking - _found.keys()
    if new:
        _found.update(dict.fromkeys(new) | _search(new))
        _warn(sorted(character for character in new if _found[character] is None))
    return {character: _found[character] for character in lacking}


def one_line(name: str) -> str:
    """A name without line breaks and control characters, which end a line of a table or color a terminal.

    Bytes of a file's name that are not UTF-8 are replaced too, for they cannot be printed.
    """
    replacements = {"Cc": " ", "Cs": MISSING}
    return " ".join("".join(replacements.get(unicodedata.category(character), character) for character in name).split())


def shorten(name: str, length: int) -> str:
    """A name of at most so many characters, which lacks its middle if it is longer."""
    if len(name) <= length:
        return name
    return f"{name[: length // 2].rstrip()}…{name[len(name) - (length - 1) // 2 :].lstrip()}"


def figure_names(names: Sequence[str], length: int = 40) -> list[str]:
    """Names as figures can show them: in one line, shortened, and without characters that no font has."""
    composed = [unicodedata.normalize("NFC", one_line(name)) for name in names]
    fonts = find_fonts("".join(composed))
    table = {ord(character): MISSING for character, font in fonts.items() if font is None}
    return [shorten(name.translate(table), length) for name in composed]


def show_literally(figure: Figure) -> None:
    """Have a figure show each text character by character, in fonts that have them; `$` begins no formula."""
    texts = figure.findobj(Text)
    fonts = find_fonts("".join(text.get_text() for text in texts))
    families = ["DejaVu Sans", *(_family(font) for font in sorted(set(filter(None, fonts.values()))))]
    for text in texts:
        text.set_parse_math(False)
        text.set_usetex(False)
        text.set_fontfamily([*text.get_fontfamily(), *families])


@cache
def _family(font: str) -> str:
    """The family of a font file, which matplotlib knows from then on."""
    font_manager.fontManager.addfont(font)
    return FT2Font(font).family_name


@cache
def _base_characters() -> frozenset[str]:
    return frozenset(map(chr, FT2Font(base_font()).get_charmap()))


def _search(characters: set[str]) -> dict[str, str]:
    """Font files of characters, as few as possible; regular ones if there is a choice."""
    covered: dict[str, set[str]] = {}
    regular = {}
    for path in sorted(font_manager.findSystemFonts()):
        try:
            font = FT2Font(path)
            covered[path] = characters.intersection(map(chr, font.get_charmap()))
        except Exception:  # a damaged file, or a kind that FreeType does not read
            continue
        # A font of the system has a box for every character, which it may be asked for like a letter.
        if "lastresort" in path.lower():
            covered[path] = set()
        regular[path] = font.style_name in ("Regular", "Book"), "Sans" in font.family_name
    fonts = {}
    while covered:
        best = max(covered, key=lambda path: (len(covered[path]), regular[path]))
        here = covered.pop(best)
        if not here:
            break
        if _draws(best, here):
            fonts |= dict.fromkeys(here, best)
            covered = {path: rest - here for path, rest in covered.items()}
    return fonts


def _draws(font: str, characters: set[str]) -> bool:
    """True for a font with outlines; those of color emoji have bitmaps of one size."""
    try:
        return ImageFont.truetype(font, 20).getmask(min(characters)).getbbox() is not None
    except Exception:  # whatever a font's bytes lead to
        return False


def _warn(missing: list[str]) -> None:
    if missing:
        shown = "".join(missing[:30]) + ("..." if len(missing) > 30 else "")
        warnings.warn(
            f"no installed font has the characters {shown}, so {MISSING} is shown in their place; install one that has, such "
            "as Noto Sans CJK for Chinese, Japanese and Korean (Debian: fonts-noto-cjk), Noto Sans for other scripts "
            "(fonts-noto-core) or Symbola for symbols (fonts-symbola)",
            stacklevel=3,
        )
