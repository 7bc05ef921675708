"""split: compose one data set (an arm, or the test set) and pack it as one array."""

import argparse
from pathlib import Path

from sdaug.data.arms import ArmParams, Example, SplitParams, as_examples, compose_arm
from sdaug.data.packed import write_packed
from sdaug.files import fresh_dir, read_csv
from sdaug.manifest import Photo, read_manifest
from sdaug.params import read_section
from sdaug.stage import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--dataset", help="an arm of `datasets`; without it, the test set")
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    photos = read_manifest(args.prepared)
    if args.dataset is None:
        examples = as_examples([photo for photo in photos if photo.split == "test"], part="test")
        pack(examples, photos, args.prepared / "images", {}, args.out)
        return
    arm = read_section(args.params, f"datasets.{args.dataset}", ArmParams)
    split = read_section(args.params, "split", SplitParams)
    folders = {folder.name: folder for folder in args.synthetic}
    synthetic = [example for folder in args.synthetic for example in read_synthetic(folder)]
    examples = compose_arm(photos, synthetic, arm=arm, split=split)
    pack(examples, photos, args.prepared / "images", folders, args.out)


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
        Example(id=row["id"], label=row["label"], origin="synthetic", part="train", source=row["file"]) for row in rows
    ]


def pack(
    examples: list[Example], photos: list[Photo], photos_dir: Path, synthetic_dirs: dict[str, Path], out: Path
) -> None:
    """Write the array and its table; a synthetic image is a group of its own."""
    groups = {photo.id: photo.group for photo in photos}
    paths = [
        (photos_dir if example.origin == "real" else synthetic_dirs[example.label]) / example.source
        for example in examples
    ]
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
        write_packed(out_dir, paths, rows)


if __name__ == "__main__":
    run_stage(main)
