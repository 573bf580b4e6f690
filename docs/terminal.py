"""Programs in a pseudo-terminal, and their screens as HTML."""

import fcntl
import html
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from itertools import groupby

import pyte
from pyte.screens import Char

BACKGROUND, FOREGROUND = "#14181c", "#d4d7da"
# A Braille character is U+2800 plus a bit for each dot: columns and rows of the dots, by bit.
BRAILLE = 0x2800
DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
STYLE = f"""
body {{ margin: 0; background: {BACKGROUND}; }}
pre {{ display: inline-block; margin: 0; padding: 12px; color: {FOREGROUND}; font: 16px/19px "DejaVu Sans Mono", monospace; }}
pre i {{ display: inline-block; width: 1ch; height: 19px; vertical-align: top; }}
"""


class Terminal:
    """Terminal of a program, to be used in a `with` statement.

    Args:
        command: The program and its arguments.
        rows: Height in characters.
        columns: Width in characters.
        environment: Additional variables of the program.
    """

    def __init__(self, command: list[str], rows: int, columns: int, environment: dict[str, str]):
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        self._screen.write_process_input = lambda text: self.type(text, 0)  # answers to the program's queries
        self._set_size(rows)
        variables = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        self._process = subprocess.Popen(command, env=variables, start_new_session=True, **streams)
        os.close(slave)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        os.close(self._master)

    def type(self, keys: str, pause: float = 1) -> None:
        """Send keys, and read the output until there is none for some seconds."""
        os.write(self._master, keys.encode())
        while pause and select.select([self._master], [], [], pause)[0]:
            self._stream.feed(os.read(self._master, 65536))

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Read the output until the screen contains a text.

        Raises:
            TimeoutError: It does not appear; the message has the screen's content.
        """
        end = time.monotonic() + seconds
        while text not in "\n".join(self._screen.display):
            if time.monotonic() > end:
                raise TimeoutError("\n".join([f"no {text!r} on the screen:", *self._screen.display]))
            self.type("", 1)

    def repaint(self) -> None:
        """Resize the terminal by a row and back, because pyte lacks the sequences that scroll parts of a screen."""
        rows = self._screen.lines
        for size in (rows - 1, rows):
            self._screen.reset()
            self._screen.resize(size)
            self._set_size(size)
            os.killpg(self._process.pid, signal.SIGWINCH)
            self.type("", 2)

    def html(self) -> str:
        """Render the screen as a page."""
        rows = ([self._screen.buffer[y][x] for x in range(self._screen.columns)] for y in range(self._screen.lines))
        text = "\n".join("".join(_span(style, list(cells)) for style, cells in groupby(row, _style)) for row in rows)
        return f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><pre>{text}</pre>'

    def _set_size(self, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, self._screen.columns, 0, 0))


def _style(cell: Char) -> tuple[str, str, bool]:
    """Text color, background color, and True for bold text."""
    colors = _color(cell.fg, FOREGROUND), _color(cell.bg, BACKGROUND)
    return *(colors[::-1] if cell.reverse else colors), cell.bold


def _color(name: str, default: str) -> str:
    """CSS color of pyte's: `default`, six hexadecimal digits, or a name."""
    if name == "default":
        return default
    return f"#{name}" if len(name) == 6 and not set(name) - set("0123456789abcdef") else name.removeprefix("bright")


def _span(style: tuple[str, str, bool], cells: list[Char]) -> str:
    color, background, bold = style
    text = "".join(_glyph(cell.data, color, background) for cell in cells)
    weight = "; font-weight: bold" if bold else ""
    return f'<span style="color: {color}; background: {background}{weight}">{text}</span>'


def _glyph(character: str, color: str, background: str) -> str:
    """HTML of a character; those of charts and images are rendered here, because fonts leave gaps between them."""
    if character == "▄":
        return f'<i style="background: linear-gradient({background} 50%, {color} 50%)"></i>'
    bits = ord(character) - BRAILLE if len(character) == 1 else 0
    if 0 < bits < 256:
        places = [f"{25 + 50 * x}% {12.5 + 25 * y}%" for bit, (x, y) in enumerate(DOTS) if bits >> bit & 1]
        dots = ", ".join(f"radial-gradient(circle at {place}, {color} 1.4px, transparent 2.2px)" for place in places)
        return f'<i style="background: {dots}"></i>'
    return html.escape(character)
