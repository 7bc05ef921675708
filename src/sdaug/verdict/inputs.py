"""What the report rests on: settings, results, photos and images, read from the files of earlier stages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from sdaug.common.external_images import ExternalImage, read_external
from sdaug.common.manifest import Photo, name_test_set, read_manifest, training_photos
from sdaug.common.params import Method, SplitParams, concept_dirs, read_arms, read_methods, read_seeds
from sdaug.common.provenance import SEEN, Seen, read_seen
from sdaug.common.sections import read_params, read_section
from sdaug.common.synthetic import SyntheticImage, read_synthetic
from sdaug.verdict.closest import Pair, read_pairs
from sdaug.verdict.external_summary import External
from sdaug.verdict.letters import Audit, Check, Fidelity, Filter, ImageAudit, Prepared
from sdaug.verdict.results import Study, read_study
from sdaug.verdict.steps import Example, read_examples

PATHS = (PurePosixPath, PureWindowsPath)
FOLDS = "cross_validate"  # where that stage has written its metrics
# Keys of `images`: an arm with none of them is a simple remedy.
ADDED = ("synthetic", "per_class", "external", "oracle")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files and folders that the report is made from; `synthetic` has a folder per concept.

    `imported` is the folder of images from elsewhere.
    """

    params: Path
    prepared: Path
    synthetic: Path
    imported: Path
    steps: Path
    metrics: Path
    closest_pairs: Path | None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the report rests on.

    `params` are those of the study, but for the folders in which absolute paths lie: they tell whose machine it was.
    `test_set` names the test photos. `photo_files` are those of all photos by id, `generated` the images of each
    class's first draw, `imported` those from elsewhere. `base` is what the base has seen; then come the letters of
    these stages. `study` has the classifiers that see no test photo; `transductive` those that do, which are apart from
    all else, None if there are none. `twins` names for each of these the classifier of `study` that differs in nothing
    else, where there is one.
    """

    params: Mapping[str, Any]
    split: SplitParams
    selection: str
    arms: Mapping[str, Mapping[str, Any]]
    study: Study
    photos: Sequence[Photo]
    test_set: str
    photo_files: Mapping[str, Path]
    generated: Mapping[str, Sequence[Path]]
    imported: Sequence[tuple[ExternalImage, Path]]
    examples: Mapping[str, Sequence[Example]]
    closest: Mapping[str, Sequence[Pair]]
    base: Seen
    prepare: Prepared
    audit: Audit
    audit_images: ImageAudit
    fidelity: Fidelity
    filter: Filter
    external: External
    transductive: Study | None = None
    twins: Mapping[str, str] = field(default_factory=dict)

    def setting(self, section: str, key: str) -> Any:
        """A setting of params.yaml, None if it is empty or missing."""
        return (self.params.get(section) or {}).get(key)

    @property
    def checks(self) -> dict[str, Check]:
        """Those of both audits."""
        return {**self.audit.checks, **self.audit_images.checks}

    @property
    def training(self) -> dict[str, list[Path]]:
        """The files of each class's photos that the generators saw."""
        seen = training_photos(self.photos, self.split)
        return {
            label: [self.photo_files[photo.id] for photo in seen if photo.label == label]
            for label in self.study.classes
        }


def read_inputs(sources: Sources) -> Inputs:
    """Read all of it.

    Raises:
        FileNotFoundError: an earlier stage has not run.
        ValueError: what the stages wrote does not belong together.
    """
    classes = read_section(sources.params, "classes", list[str])
    synthetic = _list_generated(concept_dirs(sources.synthetic, sources.params), classes)
    imported = [(image, sources.imported / image.file_name) for image in read_external(sources.imported)]
    files = {image.id: path for image, path in synthetic} | {image.id: path for image, path in imported}
    photos = read_manifest(sources.prepared)
    photo_files = {photo.id: sources.prepared / "images" / photo.file_name for photo in photos}
    pairs = sources.closest_pairs
    arms = read_arms(sources.params)
    is_filtered = any(arm["images"]["keep_share"] < 1 for arm in arms.values())
    return Inputs(
        params=without_folders(read_params(sources.params)),
        split=read_section(sources.params, "split", SplitParams),
        selection=read_section(sources.params, "train.selection", str),
        arms=arms,
        study=read_results(sources.params, sources.metrics, classes),
        photos=photos,
        test_set=name_test_set(photos),
        photo_files=photo_files,
        generated=_first_draws(synthetic),
        imported=imported,
        examples=read_examples(sources.steps, classes=classes, synthetic=files, photos=photo_files),
        closest=read_pairs(pairs, classes=classes, synthetic=files, photos=photo_files) if pairs else {},
        base=read_seen(sources.metrics / SEEN),
        prepare=Prepared.read(sources.metrics),
        audit=Audit.read(sources.metrics),
        audit_images=ImageAudit.read(sources.metrics),
        fidelity=Fidelity.read(sources.metrics),
        filter=Filter.read(sources.metrics) if is_filtered else Filter(classes={}),
        external=External.read(sources.metrics),
        transductive=read_transductive(sources.params, sources.metrics, classes),
        twins=plain_twins(sources.params),
    )


def without_folders(value: Any) -> Any:
    """A copy of params in which an absolute path, or one of a home folder, keeps its last name only."""
    if isinstance(value, Mapping):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_folders(item) for item in value]
    if isinstance(value, str) and (value.startswith("~") or any(kind(value).is_absolute() for kind in PATHS)):
        return f"…/{PureWindowsPath(value).name}"  # it knows slashes and backslashes
    return value


def read_results(
    params: Path, metrics_dir: Path, classes: list[str], *, further_folds: Sequence[int] | None = None
) -> Study:
    """The results of all training runs that params.yaml defines, also on its further folds, or on those given.

    Transductive classifiers are left out.

    Raises:
        FileNotFoundError: a run is incomplete; names the first missing file.
        ValueError: what the stages wrote does not belong together.
    """
    return _read_models(params, metrics_dir, classes, _models_of(params, "plain"), further_folds)


def read_transductive(params: Path, metrics_dir: Path, classes: list[str]) -> Study | None:
    """The results of transductive classifiers alone; None if there are none. See `read_results`."""
    models = _models_of(params, "sctl")
    return _read_models(params, metrics_dir, classes, models, None) if models else None


def plain_twins(params: Path) -> dict[str, str]:
    """For each transductive classifier the first plain one whose other settings are the same, where there is one."""
    entries = {
        model: {key: value for key, value in entry.items() if key not in ("method", "sctl")}
        for model, entry in read_params(params)["classifiers"].items()
    }
    plain, transductive = _models_of(params, "plain"), _models_of(params, "sctl")
    same = {model: [other for other in plain if entries[other] == entries[model]] for model in transductive}
    return {model: others[0] for model, others in same.items() if others}


def _models_of(params: Path, wanted: Method) -> list[str]:
    return [model for model, method in read_methods(params).items() if method == wanted]


def _read_models(
    params: Path, metrics_dir: Path, classes: list[str], models: Sequence[str], further_folds: Sequence[int] | None
) -> Study:
    arms = read_arms(params)
    images = {name: arm["images"] for name, arm in arms.items()}
    if further_folds is None:
        further_folds = read_section(params, "cross_validate.folds", list[int])
    own = read_section(params, "split", SplitParams).fold
    return read_study(
        metrics_dir,
        folds={own: metrics_dir} | {fold: metrics_dir / FOLDS / str(fold) for fold in further_folds},
        num_folds=read_section(params, "prepare.num_folds", int),
        classes=classes,
        seeds={model: read_seeds(params, model) for model in models},
        datasets=list(arms),
        remedies=[name for name, found in images.items() if not any(found[key] for key in ADDED)],
    )


def _list_generated(folders: Sequence[Path], classes: Sequence[str]) -> list[tuple[SyntheticImage, Path]]:
    """The generated images of all draws with their files, in manifest order."""
    found = [(image, folder / image.file_name) for folder in folders for image in read_synthetic(folder)]
    for image, path in found:
        if image.label not in classes:
            raise ValueError(f"{path.parent}/manifest.csv: label {image.label}: not one of {', '.join(classes)}")
    return found


def _first_draws(synthetic: Sequence[tuple[SyntheticImage, Path]]) -> dict[str, list[Path]]:
    """The files of the first draw of each class that has any, in the first variant."""
    draws: dict[str, tuple[int, str]] = {}
    found: dict[str, list[Path]] = {}
    for image, path in synthetic:
        if (image.draw, image.variant) == draws.setdefault(image.label, (image.draw, image.variant)):
            found.setdefault(image.label, []).append(path)
    return found
