"""report: write the verdict as a summary of all runs and a folder of tables, pictures and a page."""

import argparse
from pathlib import Path
from typing import Any

from sdaug.common.files import fresh_dir, read_json, write_csv, write_json, write_text
from sdaug.common.manifest import Photo, count_labels, read_manifest, training_photos, validation_photos
from sdaug.common.params import SplitParams, read_seeds
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import read_synthetic
from sdaug.common.tracking import flatten
from sdaug.verdict import page, pictures, sentences, tables
from sdaug.verdict.audit_table import audit_limits, audit_table
from sdaug.verdict.fidelity_table import fidelity_tables
from sdaug.verdict.results import Study, read_study, summarize
from sdaug.verdict.siblings import sibling_scores


def main() -> None:
    # Read the results of the earlier stages.
    args = parse_args()
    classes = read_section(args.params, "classes", list[str])
    split = read_section(args.params, "split", SplitParams)
    study = read_results(args.params, args.metrics, classes)
    photos = read_manifest(args.prepared)
    seen = training_photos(photos, split)
    generated = list_generated(args.synthetic, classes)
    fidelity = read_json(require_file(args.metrics / "fidelity.json", stage="fidelity"))
    audit = read_json(require_file(args.metrics / "audit.json", stage="audit"))
    prepare = read_json(require_file(args.metrics / "prepare.json", stage="prepare"))

    # Derive tables, verdict and limits.
    counts = tables.Counts(
        photos=count_labels(seen, classes),
        generated={label: len(paths) for label, paths in generated.items()},
        test=study.num_test,
    )
    siblings = sibling_scores(photos, classes)
    shown = [*tables.build_tables(study, counts, siblings), *fidelity_tables(fidelity), audit_table(audit)]
    verdict = sentences.find_verdict(study)
    arms = read_section(args.params, "datasets", dict[str, dict[str, Any]])
    # A published study validates on a random part of all images, which the manifest does not know.
    validating = validation_photos(photos, fold=split.fold) if split.protocol == "clean" else []
    limits = sentences.find_limits(
        study,
        protocol=split.protocol,
        siblings=siblings,
        selection=read_section(args.params, "train.selection", str),
        num_validation=count_labels(validating, classes),
        training={name: arm["training"] for name, arm in arms.items()},
    )
    limits += audit_limits(audit)

    # Write tables, pictures and the page.
    text = "\n\n".join([page.render_text(shown[0]), *verdict]) + "\n"
    with fresh_dir(args.out) as out:
        write_text(out / "comparison.txt", text)
        write_csv(out / "comparison.csv", tables.comparison_rows(study))
        if study.contrasts:
            write_csv(out / "differences.csv", tables.difference_rows(study))
        write_csv(out / "confusion.csv", tables.confusion_rows(study))
        write_text(out / "comparison.md", page.render_markdown(shown, verdict=verdict, limits=limits))
        write_text(out / "verdict.md", page.render_verdict(verdict, limits) + "\n")
        pictures.draw_all(out, study, photos=photo_paths(args.prepared, seen, classes), generated=generated)
        html = page.render_page(
            shown,
            study=study,
            verdict=verdict,
            limits=limits,
            protocol=page.describe_protocol(split.protocol),
            pictures=pictures.CAPTIONS,
            metrics=flatten({"prepare": prepare, "vae": fidelity["vae"]}),
        )
        write_text(out / "index.html", html)
    write_json(args.summary, summarize(study))
    print(text, f"Page and pictures: {args.out / 'index.html'}", sep="\n")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True, help="prepared photos")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="generated images, a folder per class")
    parser.add_argument("--metrics", type=Path, required=True, help="folder of all stages' metrics")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--summary", type=Path, required=True, help="JSON file for the summary")
    return parser.parse_args()


def read_results(params: Path, metrics_dir: Path, classes: list[str]) -> Study:
    """The results of all training runs that params.yaml defines."""
    arms = read_section(params, "datasets", dict[str, dict[str, Any]])
    images = {name: arm["images"] for name, arm in arms.items()}
    return read_study(
        metrics_dir,
        classes=classes,
        seeds={model: read_seeds(params, model) for model in read_section(params, "classifiers", dict[str, Any])},
        datasets=list(arms),
        remedies=[name for name, found in images.items() if not (found.get("synthetic") or found.get("oracle"))],
    )


def photo_paths(prepared_dir: Path, photos: list[Photo], classes: list[str]) -> dict[str, list[Path]]:
    """The image files of each class's photos."""
    images_dir = prepared_dir / "images"
    return {label: [images_dir / photo.file_name for photo in photos if photo.label == label] for label in classes}


def list_generated(folders: list[Path], classes: list[str]) -> dict[str, list[Path]]:
    """The images of the first draw of each class that has any, in manifest order."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        images = read_synthetic(folder)
        for image in (image for image in images if image.draw == images[0].draw):
            if image.label not in classes:
                raise ValueError(f"{folder}/manifest.csv: label {image.label}: not one of {', '.join(classes)}")
            found.setdefault(image.label, []).append(folder / image.file_name)
    return found


def require_file(path: Path, *, stage: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro {stage}`")
    return path


if __name__ == "__main__":
    run_stage(main)
