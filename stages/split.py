"""split: compose one data set (arm) and pack it into a single array."""

import _source  # noqa: F401

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sdaug.common.external_images import read_external
from sdaug.common.manifest import Photo, read_manifest, training_photos
from sdaug.common.params import SplitParams, concept_dirs, read_arm
from sdaug.common.sections import Checked, read_params, read_section
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import read_synthetic
from sdaug.common.tables import read_table
from sdaug.datasets.arms import Example, compose_arm, count_missing, keep_best, synthetic_examples
from sdaug.datasets.packing import pack_examples
from sdaug.datasets.params import ArmImages
from sdaug.datasets.reconstructed import find_reconstructed
from sdaug.phantom.params import PhantomParams
from sdaug.phantom.photos import write_further


@dataclass(frozen=True, kw_only=True)
class Opinion(Checked):
    """The filter's probability that a generated image shows its class; the table has more columns."""

    id: str
    probability: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--dataset", required=True, help="key of the arm in `datasets`")
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--reconstructed", type=Path, required=True, help="of photos, if the arm has them")
    parser.add_argument("--synthetic", type=Path, required=True, help="folder with synthetic images of each concept")
    parser.add_argument("--external", type=Path, required=True, help="imported images")
    parser.add_argument("--filter", type=Path, required=True, help="CSV file of opinions, if the arm keeps a share")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    # The photos and the generated images of all classes.
    arm = read_arm(args.params, args.dataset, "images", ArmImages)
    split = read_section(args.params, "split", SplitParams)
    photos = read_manifest(args.prepared)
    if arm.external is None:
        folders = concept_dirs(args.synthetic, args.params)
        generated = [example for folder in folders for example in read_examples(folder, arm.variant)]
    else:
        chosen = [image for image in read_external(args.external) if image.source == arm.external]
        generated = synthetic_examples(chosen, args.external)
    if arm.keep_share < 1:
        opinions = {opinion.id: opinion.probability for opinion in read_table(args.filter, Opinion)}
        generated = keep_best(generated, opinions, arm.keep_share)
    # Compose and pack; oracle photos are files only until they are packed.
    with tempfile.TemporaryDirectory() as scratch:
        further = draw_oracle(args.params, photos, arm, split, Path(scratch)) if arm.oracle else []
        images_dir = args.prepared / "images"
        examples = compose_arm(photos, generated, further, images_dir=images_dir, arm=arm, split=split)
        reconstructed = find_reconstructed(examples, args.reconstructed) if arm.reconstructed else []
        pack_examples([*examples, *reconstructed], photos, args.out)


def read_examples(folder: Path, variant: str) -> list[Example]:
    """The synthetic images of one class and variant."""
    return synthetic_examples([image for image in read_synthetic(folder) if image.variant == variant], folder)


def draw_oracle(params: Path, photos: list[Photo], arm: ArmImages, split: SplitParams, out_dir: Path) -> list[Example]:
    """More true photos of each class that lacks some, as a perfect generator would draw them."""
    if "phantom" not in read_params(params):
        raise ValueError(f"{params}: datasets: images: oracle: {arm.oracle}; only the phantom has more true photos")
    phantom = read_section(params, "phantom", PhantomParams)
    files = write_further(phantom, count_missing(training_photos(photos, split), times=arm.oracle), out_dir)
    return [
        Example(id=f"oracle-{path.stem}", label=label, origin="oracle", part="train", source=path)
        for label, paths in files.items()
        for path in paths
    ]


if __name__ == "__main__":
    run_stage(main)
