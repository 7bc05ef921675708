"""A folder of images from elsewhere becomes an arm of a study that DVC runs, from `sdaug external` to the verdict."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from line import run
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdaug.common.files import read_csv

pytestmark = pytest.mark.xdist_group("line")  # in one process, which runs their study once
NUM_IMAGES = 36


@pytest.fixture
def flux(clean: Path) -> Iterator[Path]:
    """A folder beside the study, with images of stripes that say how they were drawn."""
    folder = clean.parent / "flux"
    (folder / "stripes").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(9)
    for n in range(NUM_IMAGES):
        pixels = rng.integers(0, 90, (80, 80, 3), dtype=np.uint8)
        pixels[:: 4 + n % 3] += 140
        info = PngInfo()
        info.add_text("parameters", f"white stripes\nSteps: 4, Seed: {n}, Model: flux-dev")
        Image.fromarray(pixels).save(folder / "stripes" / f"{n}.png", pnginfo=info)
    yield folder
    run(clean, "git", "clean", "-fdq", "metrics", "report")


def test_images_from_elsewhere_become_an_arm_of_the_verdict(clean: Path, flux: Path) -> None:
    run(clean, "sdaug", "external", f"../{flux.name}")
    output = run(clean, "dvc", "repro")
    did_run = re.findall(r"^Running stage '(\S+)':$", output, re.MULTILINE)
    slow = {stage for stage in did_run if stage.partition("@")[0] in ("base", "dreambooth", "synthesize", "train")}
    assert slow == {"train@custom-flux", "train@other-flux"}
    # It has the images that the class lacks, and the other arm those of our own generators.
    own, theirs = (
        [row for row in read_csv(clean / "data/packed" / arm / "examples.csv") if row["origin"] == "synthetic"]
        for arm in ("augmented", "flux")
    )
    assert len(theirs) == len({row["id"] for row in own if row["draw"] == "0"}) > 0
    assert all(row["id"].startswith("external-flux-") and row["label"] == "stripes" for row in theirs)
    # It is audited, measured and compared like any other.
    audit = json.loads((clean / "metrics/audit_images.json").read_text())["checks"]["synthetic_copies"]
    assert audit["verdict"] == "ok" and f"{len(own) + NUM_IMAGES} synthetic images" in audit["compared"]
    likeness = json.loads((clean / "metrics/fidelity.json").read_text())["classes"]
    assert likeness["stripes (flux)"]["num_images"] == NUM_IMAGES and "stripes" in likeness
    summary = json.loads((clean / "metrics/summary.json").read_text())
    assert "flux" in summary["test_accuracy"]["custom"]
    page = (clean / "report/index.html").read_text()
    assert f"Images of arm flux come from outside (flux, {NUM_IMAGES} images, by flux-dev as they say" in page
    assert "Whether the tool has seen photos of this study is not known" in page
    assert "flux - original" in page and "white stripes; seed" in page
    assert "up to date" in run(clean, "dvc", "status")


def test_a_new_image_runs_only_what_it_touches(clean: Path, flux: Path) -> None:
    run(clean, "sdaug", "external", f"../{flux.name}")
    run(clean, "dvc", "repro", "external")
    (flux / "stripes" / "0.png").unlink()
    assert "external" in json.loads(run(clean, "dvc", "status", "external", "--json"))
