"""Fonts for names of classes: those that come with the libraries, else an installed one that has all letters of a name.

Names in plain Latin letters look the same on each machine. No font is bundled for others, as those are large.
"""

import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

REGULAR = ("Regular", "Book", "Roman", "Normal")
LAST_RESORT = "lastresort"  # a font of boxes, which macOS installs

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def is_drawable(text: str) -> bool:
    """Whether some font has all letters of a text."""
    return find_font(text) is not None


def find_font(text: str) -> Path | None:
    """The file of matplotlib's own font if it has all letters of a text, else of an installed one, else None."""
    own = own_font()
    if _has(own, text):
        return own
    return next((path for path in installed_fonts() if _has(path, text)), None)


def own_font() -> Path:
    """The font that comes with matplotlib."""
    return Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def families_for(texts: Iterable[str]) -> list[str]:
    """matplotlib's `font.family`: the default, and then fonts for what it lacks of these texts."""
    found = {find_font(text): None for text in texts}
    families = list(matplotlib.rcParams["font.family"])
    for path in found:
        if path is None or path == own_font():
            continue
        if all(Path(entry.fname) != path for entry in font_manager.fontManager.ttflist):
            font_manager.fontManager.addfont(path)
        families.append(FT2Font(str(path)).family_name)
    return families


def has_default_font(text: str) -> bool:
    """Whether Pillow's own font has all letters of a text: it lacks even those with accents."""
    return _letters_of(text) <= _letters_of_pillow()


def pillow_font(text: str, size: int) -> Font:
    """Pillow's own font if it has all letters of a text, else the font of `find_font`."""
    return _pillow_font(None if has_default_font(text) else find_font(text), size)


@cache
def _pillow_font(path: Path | None, size: int) -> Font:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


def _has(path: Path, text: str) -> bool:
    return _letters_of(text) <= _letters_in(path)


def _letters_of(text: str) -> set[int]:
    return {ord(letter) for letter in text if not letter.isspace()}


@cache
def installed_fonts() -> tuple[Path, ...]:
    """The files of installed fonts, regular ones first; matplotlib's list may be older than a font."""
    paths = sorted(Path(name) for name in font_manager.findSystemFonts())
    usable = [path for path in paths if LAST_RESORT not in path.name.casefold() and _letters_in(path)]
    return tuple(sorted(usable, key=lambda path: FT2Font(str(path)).style_name not in REGULAR))


@cache
def _letters_in(path: Path) -> frozenset[int]:
    """The letters of a font; none if it is damaged, or has a single size (as those of coloured emoji)."""
    try:
        font = FT2Font(str(path))
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()


@cache
def _letters_of_pillow() -> frozenset[int]:
    content = getattr(ImageFont.load_default(10), "font_bytes", None)  # without FreeType a font of fixed letters
    return frozenset(FT2Font(io.BytesIO(content)).get_charmap() if content else range(32, 127))
