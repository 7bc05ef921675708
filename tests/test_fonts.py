"""Names of classes in pictures: each is drawn in letters, or its id stands there and the page says so."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image, ImageDraw
from studies import report

from sdaug.verdict import fonts
from sdaug.verdict.drawing import label_rotation
from sdaug.verdict.pictures import OF_CLASSES

NAME = "健康"


def make_font(path: Path, letters: str, style: str = "Regular") -> Path:
    """A font in which each of these letters is a black bar."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (300, 700), (300, 0)):
        pen.lineTo(corner)
    pen.closePath()
    glyphs = [".notdef", *(f"u{ord(letter)}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter)}" for letter in letters})
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": f"Bars {path.stem}", "styleName": style})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The fonts of a machine, which a test may add to."""
    found: list[Path] = []
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(map(str, found)))
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    fonts.installed_fonts.cache_clear()
    yield found
    fonts.installed_fonts.cache_clear()


def test_plain_names_have_the_fonts_that_come_with_the_libraries(installed: list[Path], tmp_path: Path) -> None:
    installed.append(make_font(tmp_path / "a.ttf", "abcdefghijklmnopqrstuvwxyz_é"))
    assert fonts.find_font("score_1") == fonts.find_font("Café") == fonts.own_font()
    assert fonts.families_for(["score_1", "Café", "здоров"]) == ["sans-serif"]
    assert fonts.has_default_font("score_1") and not fonts.has_default_font("Café")


def test_first_regular_font_with_all_letters_is_taken(installed: list[Path], tmp_path: Path) -> None:
    (tmp_path / "0.ttf").write_text("no font")
    installed += [tmp_path / "0.ttf", make_font(tmp_path / "LastResort.ttf", NAME), make_font(tmp_path / "1.ttf", "健")]
    installed += [make_font(tmp_path / "2.ttf", NAME, "Black"), make_font(tmp_path / "3.ttf", f"{NAME}x")]
    assert fonts.find_font(NAME) == tmp_path / "3.ttf"
    assert fonts.families_for(["a", NAME, NAME]) == ["sans-serif", "Bars 3"]
    assert not fonts.is_drawable(f"{NAME}й")


def test_pillow_draws_each_name_in_its_letters(installed: list[Path], tmp_path: Path) -> None:
    installed.append(make_font(tmp_path / "bars.ttf", NAME))
    sheet = Image.new("L", (60, 24), "white")
    ImageDraw.Draw(sheet).text((0, 0), NAME, fill="black", font=fonts.pillow_font(NAME, 20))
    dark = np.flatnonzero((np.asarray(sheet) < 100).any(axis=0))
    assert set(dark) <= {2, 3, 4, 5, 22, 23, 24, 25} and len(dark) >= 6, "two bars"


def test_wide_letters_count_as_two() -> None:
    assert label_rotation(["健康"] * 5, fits=22) == 90 and label_rotation(["ab"] * 5, fits=22) == 0


@pytest.fixture
def named_study(own_study_dir: Path) -> Path:
    params = yaml.safe_load((own_study_dir / "params.yaml").read_text())
    params["prepare"] |= {"class_names": {"score_1": NAME}}
    (own_study_dir / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))  # the order of arms
    return own_study_dir


def pictures_of(study: Path) -> dict[str, bytes]:
    return {file: (study / "report" / file).read_bytes() for file in OF_CLASSES}


@pytest.mark.usefixtures("installed")
@pytest.mark.filterwarnings("error:Glyph .* missing")
def test_a_name_without_a_font_is_its_id_in_pictures_and_the_page_says_so(named_study: Path, study_dir: Path) -> None:
    report(named_study)
    html = (named_study / "report" / "index.html").read_text()
    assert f"<h3>{NAME}</h3>" in html
    # In captions, and as text for images; images.png stands beside the page.
    assert html.count(f"score_1 is {NAME}: no font had these letters") == 2 * (len(OF_CLASSES) - 1)
    named, plain = pictures_of(named_study), pictures_of(study_dir)
    assert {file for file in named if named[file] != plain[file]} == set()


@pytest.mark.filterwarnings("error:Glyph .* missing")
def test_a_name_with_a_font_is_drawn_in_pictures(
    installed: list[Path], named_study: Path, study_dir: Path, tmp_path: Path
) -> None:
    letters = "".join(map(chr, range(32, 127)))
    installed.append(make_font(tmp_path / "bars.ttf", NAME + letters))
    report(named_study)
    assert "no font had these letters" not in (named_study / "report" / "index.html").read_text()
    named, plain = pictures_of(named_study), pictures_of(study_dir)
    assert [file for file in named if named[file] == plain[file]] == []
