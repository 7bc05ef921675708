"""Images as others may have them: copies with marks, a table of what each one is, and their description.

The study's own files stay as they are, byte by byte: DVC knows them by their hash, and stages that follow would run
again. The copies stand beside their description, whose paths thus hold wherever the folder is put.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdaug.common.external_images import ExternalImage
from sdaug.common.files import write_csv, write_json
from sdaug.common.synthetic import SyntheticImage
from sdaug.records.croissant import Described, describe_folder
from sdaug.records.finished import GENERATORS, SYNTHETIC, Finished, Publication
from sdaug.records.imported_description import describe_imported
from sdaug.records.marking import Mark, mark_of_imported, mark_of_ours, mark_png, system_of
from sdaug.records.synthetic_description import describe_synthetic

TABLE, DESCRIPTION = "images.csv", "croissant.json"


def write_synthetic(out: Path, study: Finished, publication: Publication) -> None:
    """Write the images of the study's generators to the folder `out`; nothing if there are none.

    Raises:
        ValueError: an image is no PNG file, or is marked already.
    """
    rows = [_copy_ours(out, study.root, image) for image in study.images]
    if rows:
        _write_table(out, rows, describe_synthetic(study), publication)


def write_imported(out: Path, study: Finished, publication: Publication) -> None:
    """Write the images of each source from elsewhere to a folder of `out`; nothing if there are none.

    Raises:
        ValueError: an image is no PNG file, or is marked already.
    """
    by_source: dict[str, list[tuple[ExternalImage, Path]]] = {}
    for image, path in study.inputs.imported:
        by_source.setdefault(image.source, []).append((image, path))
    # Who shares them has not made them, and the licence is that of the study's own images.
    stated = replace(publication, licence=None, creator=None)
    for source, members in sorted(by_source.items()):
        rows = [_copy_imported(out / source, image, path) for image, path in members]
        _write_table(out / source, rows, describe_imported(study, source, [image for image, _ in members]), stated)


def _write_table(
    out: Path, rows: Sequence[Mapping[str, object]], described: Described, publication: Publication
) -> None:
    write_csv(out / TABLE, rows)
    table_hash = hashlib.sha256((out / TABLE).read_bytes()).hexdigest()
    write_json(out / DESCRIPTION, describe_folder(described, publication, table=TABLE, table_hash=table_hash))


def _copy_ours(out: Path, root: Path, image: SyntheticImage) -> dict[str, object]:
    """Write one marked copy; returns its row."""
    mark = mark_of_ours(image)
    path = root / SYNTHETIC / image.label / image.file_name
    about = {
        "id": image.id,
        "prompt": image.prompt,
        "seed": image.seed,
        "generator": (GENERATORS / image.label / str(image.draw)).as_posix(),
        "variant": image.variant,
        "source_type": mark.source_type,
        "photo": image.photo,
    }
    return _copy(out, path, image.label, mark, about, remedy="dvc repro synthesize")


def _copy_imported(out: Path, image: ExternalImage, path: Path) -> dict[str, object]:
    """Write one copy, with a mark if anything is known; returns its row."""
    mark = mark_of_imported(image)
    about = {
        "id": image.id,
        "prompt": image.prompt,
        "settings": image.caption,
        "tool": system_of(image),
        "source_type": mark.source_type,
        "original": image.original,
    }
    return _copy(out, path, image.label, mark, about, remedy="dvc repro -f external")


def _copy(out: Path, path: Path, label: str, mark: Mark, about: Mapping[str, Any], *, remedy: str) -> dict[str, object]:
    content = path.read_bytes()
    marked = mark_png(content, mark, where=path.name, remedy=remedy)
    file = Path(label) / path.name
    (out / label).mkdir(parents=True, exist_ok=True)
    (out / file).write_bytes(marked)
    hashes = {"sha256": hashlib.sha256(marked).hexdigest(), "study_sha256": hashlib.sha256(content).hexdigest()}
    return {"file": file.as_posix(), "class": label, **about, **hashes}
