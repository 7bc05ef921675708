"""Whether the photos are enough for the batches of each classifier: found before anything slow starts."""

from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from sdaug.check.study import StudyParams
from sdaug.photos.folders import Source, find_photos
from sdaug.train.params import resolve_recipe


def require_batches(study: StudyParams, root: Path) -> None:
    """Refuse batches that are larger than the number of training photos; photos that a stage makes are not counted.

    Raises:
        FileNotFoundError, ValueError: the folder does not fit section `prepare`, or a batch_size is too large.
    """
    prepare = study.prepare
    if not (root / prepare.raw).is_dir():
        return
    sources = find_photos(root / prepare.raw, study.classes, prepare.layout)
    most = num_training(
        sources,
        is_made=prepare.split == "made",
        test_fraction=prepare.test_fraction,
        num_folds=prepare.num_folds if study.split.fold != "none" else None,
    )
    # Arms with further images have more; `train` knows how many.
    plain = [name for name, arm in study.datasets.items() if not arm.images.has_further]
    for model, entry in study.classifiers.items():
        for dataset in plain:
            size = resolve_recipe(study.recipe, entry, dataset, where=f"classifiers.{model}").batch_size
            if size > most:
                raise ValueError(
                    f"params.yaml: classifiers.{model}: batch_size {size}, but about {most} photos are for training "
                    f"(of {len(sources)} in {prepare.raw}, without test set and validation fold); lower batch_size"
                )


def num_training(sources: Iterable[Source], *, is_made: bool, test_fraction: float, num_folds: int | None) -> int:
    """About how many photos a classifier trains on; the last fold, if there are any, validates."""
    parts = [source.part for source in sources]
    share = 1 - 1 / num_folds if num_folds else 1.0
    return int((len(parts) * (1 - test_fraction) if is_made else parts.count("train")) * share)


def lower_batches(params: MutableMapping[str, Any], most: int) -> list[str]:
    """Lower each batch_size of a params file that is above `most`; returns a line for each."""
    fit, said = max(2, 2 ** (most.bit_length() - 1)), list[str]()
    for where, section in _recipes(params):
        batch_size = section.get("batch_size")
        if batch_size is not None and batch_size > most:
            section["batch_size"] = fit
            said.append(f"{where}.batch_size: {fit} instead of {batch_size}: only about {most} photos are for training")
    return said


def _recipes(params: Mapping[str, Any]) -> Iterable[tuple[str, MutableMapping[str, Any]]]:
    yield "recipe", params["recipe"]
    for name, entry in params["classifiers"].items():
        yield f"classifiers.{name}", entry
        for dataset, section in (entry.get("by_dataset") or {}).items():
            yield f"classifiers.{name}.by_dataset.{dataset}", section
