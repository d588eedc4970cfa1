"""Draw docs/images/up.svg from docs/images/up.txt, the text of a real terminal with its colours.

To take it anew: record commands with ``script -qec 'COMMAND' FILE``, put the commands' lines (``$ …``) before what they
printed, replace paths of your machine by neutral ones, save as up.txt, and run ``python docs/picture.py``.
"""

import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

IMAGES = Path(__file__).resolve().parent / "images"
_COLUMNS = 116
_CHARACTER = 12.2  # units of the drawing
_NORMAL = [(40, 44, 52), (224, 108, 117), (127, 201, 127), (229, 192, 123), (97, 175, 239), (198, 120, 221)]
_BRIGHT = [(92, 99, 112), *_NORMAL[1:]]
_WHITE = (220, 223, 228)
THEME = TerminalTheme((30, 33, 39), _WHITE, [*_NORMAL, (86, 182, 194), _WHITE], [*_BRIGHT, (86, 182, 194), _WHITE])


def main() -> None:
    """Write the picture; the same text always gives the same bytes."""
    console = Console(record=True, file=io.StringIO(), width=_COLUMNS, force_terminal=True, legacy_windows=False)
    for line in (IMAGES / "up.txt").read_text(encoding="utf-8").splitlines():
        text = Text.from_ansi(line)
        if text.plain.startswith("$ "):
            text.stylize("bold green", 0, 1)
            text.stylize("bold", 2)
        console.print(text, soft_wrap=True, highlight=False)
    svg = console.export_svg(title="deployctl", theme=THEME, unique_id="deployctl")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # a picture loads nothing from elsewhere
    svg = re.sub(r'x="([\d.]+)"( y="[\d.]+") textLength="([\d.]+)"([^>]*)>((?:&#160;)+)(?=[^<&])', _indented, svg)
    (IMAGES / "up.svg").write_text(svg, encoding="utf-8")


def _indented(match: re.Match[str]) -> str:
    """A text that begins further right instead of with spaces, which some programs leave out."""
    x, y, length, rest, spaces = match.groups()
    shift = len(spaces) // len("&#160;") * _CHARACTER
    return f'x="{float(x) + shift:g}"{y} textLength="{float(length) - shift:g}"{rest}>'


if __name__ == "__main__":
    main()
