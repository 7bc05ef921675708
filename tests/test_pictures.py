"""The pictures of the report: styles that can be told apart, and files of pixels alone."""

from dataclasses import replace
from pathlib import Path

from PIL import Image
from test_results import read

from sdaug.verdict.drawing import styles_of
from sdaug.verdict.pictures import CAPTIONS, draw_comparison


def test_pictures_hold_no_metadata(study_dir: Path) -> None:
    for file in CAPTIONS:
        with Image.open(study_dir / "report" / file) as image:
            assert not set(image.info) - {"dpi"}, file


def test_white_stays_white(study_dir: Path) -> None:
    """A palette of averages could turn the background grey."""
    for file in CAPTIONS:
        with Image.open(study_dir / "report" / file) as image:
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255), file


def test_no_two_data_sets_look_the_same() -> None:
    """The arms preset has eighteen data sets, more than there are colours."""
    styles = styles_of(18)
    assert len({(colour, marker) for colour, marker, _ in styles}) == 18
    assert len({(colour, dash) for colour, _, dash in styles}) == 18


def test_many_arms_are_named_where_they_stand(study_dir: Path, tmp_path: Path) -> None:
    """With many arms the picture is wider and has no legend."""
    study = read(study_dir / "metrics")
    widths = []
    for name, copies in (("few", 1), ("many", 7)):
        draw_comparison(tmp_path / f"{name}.png", replace(study, datasets=study.datasets * copies))
        with Image.open(tmp_path / f"{name}.png") as image:
            widths.append(image.width)
    assert widths[1] > widths[0]
