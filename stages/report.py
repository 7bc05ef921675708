"""report: write the verdict as a summary of all runs and a folder of tables, pictures and a page."""

import argparse
from pathlib import Path
from typing import Any

import yaml

from sdaug.common.files import fresh_dir, read_json, write_csv, write_json, write_text
from sdaug.common.manifest import Photo, count_labels, read_manifest, training_photos, validation_photos
from sdaug.common.params import SplitParams, read_seeds
from sdaug.common.sections import read_params, read_section
from sdaug.common.stage import run_stage
from sdaug.common.synthetic import SyntheticImage, read_synthetic
from sdaug.common.tracking import flatten
from sdaug.verdict import page, pictures, rows, sentences, tables
from sdaug.verdict.audit_table import audit_limits, audit_table
from sdaug.verdict.checklist import Facts, build_checklist
from sdaug.verdict.closest import Pair, read_pairs
from sdaug.verdict.dose import find_doses
from sdaug.verdict.fidelity_table import fidelity_tables
from sdaug.verdict.mistakes import find_mistakes
from sdaug.verdict.pooled import pooled_table
from sdaug.verdict.results import Study, read_study, summarize
from sdaug.verdict.siblings import sibling_scores
from sdaug.verdict.thumbnails import build_galleries, data_uri, thumbnail


def main() -> None:
    # Read the results of the earlier stages.
    args = parse_args()
    params = read_params(args.params)
    classes = read_section(args.params, "classes", list[str])
    split = read_section(args.params, "split", SplitParams)
    arms = read_section(args.params, "datasets", dict[str, dict[str, Any]])
    study = read_results(args.params, args.metrics, classes)
    photos = read_manifest(args.prepared)
    seen = photo_paths(args.prepared, training_photos(photos, split), classes)
    synthetic = list_generated(args.synthetic, classes)
    generated = first_draws(synthetic)
    fidelity = read_json(require_file(args.metrics / "fidelity.json", stage="fidelity"))
    audit = read_json(require_file(args.metrics / "audit.json", stage="audit"))
    prepare = read_json(require_file(args.metrics / "prepare.json", stage="prepare"))

    # Derive tables, verdict and limits.
    counts = tables.Counts(
        photos={label: len(paths) for label, paths in seen.items()},
        generated={label: len(paths) for label, paths in generated.items()},
        test=study.num_test,
    )
    siblings = sibling_scores(photos, classes)
    shown = [*tables.build_tables(study, counts, siblings), *fidelity_tables(fidelity)]
    audited = [audit_table(audit)]
    verdict = sentences.find_verdict(study)
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
    pooled = pooled_table(study) if study.contrasts else None
    doses = find_doses(arms)
    mistakes = find_mistakes(study)
    with fresh_dir(args.out) as out:
        write_text(out / "comparison.txt", text)
        write_csv(out / "comparison.csv", rows.comparison_rows(study))
        if study.contrasts:
            write_csv(out / "differences.csv", rows.difference_rows(study))
        write_csv(out / "confusion.csv", rows.confusion_rows(study))
        markdown = page.render_markdown([*shown, *audited], verdict=verdict, limits=limits, pooled=pooled)
        write_text(out / "comparison.md", markdown)
        write_text(out / "verdict.md", page.render_verdict(verdict, limits, pooled) + "\n")
        pictures.draw_all(out, study, photos=seen, generated=generated, doses=doses)
        content = page.Page(
            study=study,
            findings=sentences.find_findings(study),
            limits=limits,
            protocol=page.describe_protocol(split.protocol),
            pictures={
                file: page.Picture(uri=data_uri(out / file), caption=caption)
                for file, caption in pictures.captions(doses).items()
            },
            galleries=build_galleries(seen, generated),
            tables=shown,
            mistakes=mistakes,
            photos=test_thumbnails(args.prepared, mistakes.ids),
            closest=read_closest(args, classes, synthetic) if args.closest_pairs else {},
            settings=yaml.safe_dump(params, sort_keys=False, allow_unicode=True),
            metrics=flatten({"prepare": prepare, "vae": fidelity["vae"]}),
            checklist=build_checklist(
                Facts(params=params, split=split, photos=photos, prepare=prepare, audit=audit, study=study)
            ),
            audit=audited,
        )
        write_text(out / "index.html", page.render_page(content))
    write_json(args.summary, summarize(study))
    print(text, f"Page and pictures: {args.out / 'index.html'}", sep="\n")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True, help="prepared photos")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="generated images, a folder per class")
    parser.add_argument("--metrics", type=Path, required=True, help="folder of all stages' metrics")
    parser.add_argument("--closest-pairs", type=Path, help="CSV file of generated images and their nearest photos")
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


def list_generated(folders: list[Path], classes: list[str]) -> list[tuple[SyntheticImage, Path]]:
    """The generated images of all draws with their files, in manifest order."""
    found = [(image, folder / image.file_name) for folder in folders for image in read_synthetic(folder)]
    for image, path in found:
        if image.label not in classes:
            raise ValueError(f"{path.parent}/manifest.csv: label {image.label}: not one of {', '.join(classes)}")
    return found


def first_draws(synthetic: list[tuple[SyntheticImage, Path]]) -> dict[str, list[Path]]:
    """The files of the first draw of each class that has any."""
    draws: dict[str, int] = {}
    found: dict[str, list[Path]] = {}
    for image, path in synthetic:
        if image.draw == draws.setdefault(image.label, image.draw):
            found.setdefault(image.label, []).append(path)
    return found


def test_thumbnails(prepared_dir: Path, ids: set[str]) -> dict[str, str]:
    """Small versions of these test photos, by id."""
    files = {photo_id: prepared_dir / "images" / f"{photo_id}.png" for photo_id in sorted(ids)}
    return {photo_id: thumbnail(require_file(path, stage="prepare")) for photo_id, path in files.items()}


def read_closest(
    args: argparse.Namespace, classes: list[str], synthetic: list[tuple[SyntheticImage, Path]]
) -> dict[str, list[Pair]]:
    """The closest pairs of each class, with their images."""
    photos = {photo.id: args.prepared / "images" / photo.file_name for photo in read_manifest(args.prepared)}
    images = {image.id: path for image, path in synthetic}
    return read_pairs(args.closest_pairs, classes=classes, synthetic=images, photos=photos)


def require_file(path: Path, *, stage: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `dvc repro {stage}`")
    return path


if __name__ == "__main__":
    run_stage(main)
