"""The verdict as one HTML page, with the pictures and photos that it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from sdaug.common.params import Protocol
from sdaug.common.tracking import flatten
from sdaug.verdict.closest import Pair
from sdaug.verdict.decide import Verdict
from sdaug.verdict.external_summary import Strip, build_strips
from sdaug.verdict.inputs import Inputs
from sdaug.verdict.thumbnails import Gallery, build_galleries, thumbnail

TEMPLATE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture inside the page: its data URI and caption."""

    uri: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the page shows: the verdict, and what is for the eye alone.

    `pictures` are looked up by file name, `imported` are images from elsewhere by class. `photos` are the thumbnails of
    mistakes by id; `closest` is left out if it is empty. `settings` is params.yaml, `metrics` the figures of earlier
    stages by name.
    """

    verdict: Verdict
    protocol: str
    pictures: Mapping[str, Picture]
    galleries: Sequence[Gallery]
    imported: Mapping[str, Sequence[Strip]]
    photos: Mapping[str, str]
    closest: Mapping[str, Sequence[Pair]]
    settings: str
    metrics: Mapping[str, Any]

    @property
    def sections(self) -> dict[str, str]:
        """The title of each section by its id, in the order of the page."""
        titles = {
            "verdict": "Verdict",
            "limits": "What it cannot show",
            "images": "Images",
            "dose": "Dose and response" if "dose.png" in self.pictures else "",
            "scores": "Scores",
            "transductive": "Transductive" if self.verdict.transductive else "",
            "confusion": "Confusion",
            "curves": "Training curves",
            "closest": "Closest pairs" if self.closest else "",
            "mistakes": "Mistakes",
            "audit": "Audit",
            "settings": "Settings",
            "checklist": "Checklist",
        }
        return {name: title for name, title in titles.items() if title}


def build_page(verdict: Verdict, inputs: Inputs, pictures: Mapping[str, Picture]) -> Page:
    """The page of a verdict; the inputs have the names of classes that readers see.

    Raises:
        FileNotFoundError: a photo is missing.
    """
    return Page(
        verdict=verdict,
        protocol=describe_protocol(inputs.split.protocol),
        pictures=pictures,
        galleries=build_galleries(inputs.training, inputs.generated),
        imported=build_strips(inputs.imported),
        photos=_thumbnails(inputs.photo_files, verdict.mistakes.ids),
        closest=inputs.closest,
        settings=yaml.safe_dump(inputs.params, sort_keys=False, allow_unicode=True),
        metrics=flatten({"prepare": inputs.prepare.as_json(), "vae": inputs.fidelity.as_json()["vae"]}),
    )


def describe_protocol(protocol: Protocol) -> str:
    """How training, validation and test images were kept apart, in one sentence."""
    if protocol == "clean":
        return (
            "clean: the generators saw only the training folds; validation images are real photos that no generator "
            "saw, and no group of photos is on both sides of a split."
        )
    return (
        "published (as in the slides): the generators saw every training photo, and real and generated images were "
        "pooled and split at random into training and validation. The test set contains real photos only."
    )


def render_page(page: Page) -> str:
    """The report as one HTML page that needs no other file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE.name).render(page=page, verdict=page.verdict) + "\n"


def _thumbnails(photo_files: Mapping[str, Path], ids: set[str]) -> dict[str, str]:
    """Small versions of these test photos, by id."""
    found = {}
    for photo_id in sorted(ids):
        path = photo_files.get(photo_id)
        if path is None or not path.is_file():
            raise FileNotFoundError(f"{path or photo_id}: missing; run `dvc repro prepare`")
        found[photo_id] = thumbnail(path)
    return found
