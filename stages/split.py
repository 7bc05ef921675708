"""split: compose one data set (an arm, or the test set) and pack it as one array."""

import argparse
import tempfile
from pathlib import Path

from sdaug.data.arms import Example, as_examples, compose_arm, count_missing
from sdaug.data.packed import write_packed
from sdaug.data.phantom import PhantomParams, write_further
from sdaug.data.split_params import ArmImages, SplitParams
from sdaug.files import fresh_dir, read_csv
from sdaug.manifest import Photo, read_manifest, training_photos
from sdaug.params import read_params, read_section
from sdaug.stage import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--dataset", help="an arm of `datasets`; without it, the test set")
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    photos, images_dir = read_manifest(args.prepared), args.prepared / "images"
    if args.dataset is None:
        pack(
            as_examples([photo for photo in photos if photo.split == "test"], images_dir, part="test"), photos, args.out
        )
        return
    arm = read_section(args.params, f"datasets.{args.dataset}.images", ArmImages)
    split = read_section(args.params, "split", SplitParams)
    generated = [example for folder in args.synthetic for example in read_synthetic(folder)]
    with tempfile.TemporaryDirectory() as scratch:
        further = draw_oracle(args.params, photos, arm, split, Path(scratch)) if arm.oracle else []
        examples = compose_arm(photos, generated, further, images_dir=images_dir, arm=arm, split=split)
        pack(examples, photos, args.out)


def read_synthetic(folder: Path) -> list[Example]:
    """The synthetic images of one class, checked to be all there."""
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest}: missing; run `dvc repro synthesize`")
    rows = read_csv(manifest)
    absent = [row["file"] for row in rows if not (folder / row["file"]).is_file()]
    if absent:
        raise FileNotFoundError(f"{folder / absent[0]}: in the manifest but missing; run `dvc repro synthesize`")
    return [
        Example(id=row["id"], label=row["label"], origin="synthetic", part="train", source=folder / row["file"])
        for row in rows
    ]


def draw_oracle(params: Path, photos: list[Photo], arm: ArmImages, split: SplitParams, out_dir: Path) -> list[Example]:
    """Further true photos of each class that lacks some: what no generator could do better."""
    if "phantom" not in read_params(params):
        raise ValueError(f"{params}: datasets: images: oracle: {arm.oracle}; only the phantom has further true photos")
    phantom = read_section(params, "phantom", PhantomParams)
    seen = training_photos(photos, protocol=split.protocol, fold=split.fold)
    files = write_further(phantom, count_missing(seen, times=arm.oracle), out_dir)
    return [
        Example(id=f"oracle-{path.stem}", label=label, origin="oracle", part="train", source=path)
        for label, paths in files.items()
        for path in paths
    ]


def pack(examples: list[Example], photos: list[Photo], out: Path) -> None:
    """Write the array and its table; an image that is no prepared photo is a group of its own."""
    groups = {photo.id: photo.group for photo in photos}
    rows = [
        {
            "id": example.id,
            "group": groups.get(example.id, example.id),
            "label": example.label,
            "origin": example.origin,
            "part": example.part,
        }
        for example in examples
    ]
    with fresh_dir(out) as out_dir:
        write_packed(out_dir, [example.source for example in examples], rows)


if __name__ == "__main__":
    run_stage(main)
