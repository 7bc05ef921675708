"""Write the verdict: the summary of all runs, and a folder with tables, pictures and a page."""

import argparse
from pathlib import Path
from typing import Any

from sdaug.data.split_params import SplitParams
from sdaug.files import fresh_dir, read_csv, read_json, write_csv, write_json, write_text
from sdaug.manifest import count_labels, read_manifest, training_photos, validation_photos
from sdaug.params import read_section
from sdaug.stage import run_stage
from sdaug.verdict import page, pictures
from sdaug.verdict.looks import looks_table
from sdaug.verdict.summary import read_study, sibling_accuracy, summarize


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True, help="prepared photos")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="generated images, a folder a rare class")
    parser.add_argument("--metrics", type=Path, required=True, help="folder of the metrics of all stages")
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    parser.add_argument("--summary", type=Path, required=True, help="file of the summary")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    classes = read_section(args.params, "classes", list[str])
    split = read_section(args.params, "split", SplitParams)
    study = read_study(
        args.metrics,
        classes=classes,
        models=list(read_section(args.params, "classifiers", dict[str, Any])),
        datasets=list(read_section(args.params, "datasets", dict[str, Any])),
        seeds=read_section(args.params, "seeds", list[int]),
    )
    photos = read_manifest(args.prepared)
    train = training_photos(photos, protocol=split.protocol, fold=split.fold)
    synthetic = read_synthetic(args.synthetic, classes)
    photo_paths = {
        label: [args.prepared / "images" / photo.file_name for photo in train if photo.label == label]
        for label in classes
    }
    counts = page.Counts(
        photos=count_labels(train, classes),
        generated={label: len(paths) for label, paths in synthetic.items()},
        test=study.num_test,
    )
    earlier = {
        f"{name}.{key}": value
        for name in ("prepare", "base")
        for key, value in page.flatten(read_json(require_file(args.metrics / f"{name}.json", stage=name))).items()
    }

    looks = looks_table(read_json(require_file(args.metrics / "fidelity.json", stage="fidelity")))
    tables = [*page.build_tables(study, counts), looks]
    verdict = page.find_verdict(study)
    validating = validation_photos(photos, fold=split.fold) if split.protocol == "clean" else []
    limits = page.find_limits(
        study,
        protocol=split.protocol,
        sibling_accuracy=sibling_accuracy(photos, classes),
        selection=read_section(args.params, "train.selection", str),
        num_validation=count_labels(validating, classes),
    )
    text = "\n\n".join([page.render_text(tables[0]), *verdict]) + "\n"
    with fresh_dir(args.out) as out:
        write_text(out / "comparison.txt", text)
        write_csv(out / "comparison.csv", page.comparison_rows(study))
        write_csv(out / "confusion.csv", page.confusion_rows(study))
        write_text(out / "comparison.md", page.render_markdown(tables, verdict=verdict, limits=limits))
        pictures.draw_all(out, study, photos=photo_paths, generated=synthetic)
        write_text(
            out / "index.html",
            page.render_page(
                tables,
                study=study,
                verdict=verdict,
                limits=limits,
                protocol=page.describe_protocol(split.protocol),
                pictures=pictures.CAPTIONS,
                metrics=earlier,
            ),
        )
    write_json(args.summary, summarize(study))
    print(text, f"Page and pictures: {args.out / 'index.html'}", sep="\n")


def read_synthetic(folders: list[Path], classes: list[str]) -> dict[str, list[Path]]:
    """The generated images of each class that has any, in the order of their manifests."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        for row in read_csv(require_file(folder / "manifest.csv", stage="synthesize")):
            if row["label"] not in classes:
                raise ValueError(f"{folder}/manifest.csv: label {row['label']}: not one of {', '.join(classes)}")
            found.setdefault(row["label"], []).append(folder / row["file"])
    return found


def require_file(path: Path, *, stage: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro {stage}`")
    return path


if __name__ == "__main__":
    run_stage(main)
