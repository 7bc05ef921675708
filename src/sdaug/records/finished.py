"""A finished study, as its records tell of it: what the report rests on, the generators, and the hashes of DVC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sdaug.common.params import ConceptParams, concept_dirs
from sdaug.common.provenance import SeenPhoto, read_record
from sdaug.common.sections import read_section
from sdaug.common.synthetic import SyntheticImage, read_synthetic
from sdaug.dreambooth.params import ClassImagesParams, DreamBoothParams
from sdaug.records.lock_hashes import hashes_of, read_lock, tracked_path
from sdaug.train.params import Recipe, SctlParams, read_recipe, read_sctl
from sdaug.verdict.inputs import Inputs, Sources, read_inputs
from sdaug.verdict.names import shown_names, with_names
from sdaug.verdict.results import Study

PARAMS, LOCK = Path("params.yaml"), Path("dvc.lock")
PREPARED, SYNTHETIC, IMPORTED = (Path("data") / name for name in ("prepared", "synthetic", "imported"))
STEPS, METRICS = Path("data/steps"), Path("metrics")
BASE, GENERATORS, CLASSIFIERS = (Path(p) for p in ("models/base", "models/dreambooth", "models/classifiers"))


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What only who shares the records can say; None of what is not known yet."""

    licence: str | None = None
    creator: str | None = None
    url: str | None = None
    date: str | None = None


@dataclass(frozen=True, kw_only=True)
class Generator:
    """The generator of one class and draw, and the photos that it was trained on."""

    label: str
    draw: int
    photos: Sequence[SeenPhoto]

    @property
    def folder(self) -> Path:
        return GENERATORS / self.label / str(self.draw)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A finished study in its folder.

    `inputs` have the ids of classes; `recipes` are those of each model and arm; `sctl` has the settings of transductive
    models; `hashes` are DVC's, by path, of what it tracks.
    """

    root: Path
    inputs: Inputs
    concepts: Mapping[str, ConceptParams]
    dreambooth: DreamBoothParams
    class_images: ClassImagesParams
    generators: Sequence[Generator]
    images: Sequence[SyntheticImage]
    recipes: Mapping[tuple[str, str], Recipe]
    sctl: Mapping[str, SctlParams]
    hashes: Mapping[str, str]

    @cached_property
    def shown(self) -> Inputs:
        """The inputs with the names of classes that readers see."""
        return with_names(self.inputs)

    def study_of(self, model: str) -> Study:
        """The results of this model and of those that it may be compared with, with the names that readers see."""
        return self.shown.transductive if model in self.sctl and self.shown.transductive else self.shown.study

    def name_of(self, label: str) -> str:
        """The name of a class that readers see."""
        return shown_names(self.inputs).get(label, label)

    def hash_of(self, path: Path) -> str | None:
        """DVC's hash of a file or folder, or of the one that holds it, with that one's path; None if it tracks none."""
        found = tracked_path(path, self.hashes)
        return None if found is None else f"md5:{self.hashes[found]} ({found})"


def read_finished(root: Path) -> Finished:
    """The study in the folder `root`.

    Raises:
        FileNotFoundError: a stage has not run, or what it made is not here.
        ValueError: what the stages wrote does not belong together.
    """
    params = root / PARAMS
    concepts = read_section(params, "concepts", dict[str, ConceptParams])
    draws = read_section(params, "generator_seeds", list[int])
    # First, since statistics take seconds.
    generators = [_read_generator(root, label, draw) for label in concepts for draw in draws]
    inputs = read_inputs(
        Sources(
            params=params,
            prepared=root / PREPARED,
            synthetic=root / SYNTHETIC,
            imported=root / IMPORTED,
            steps=root / STEPS,
            metrics=root / METRICS,
            closest_pairs=None,
        )
    )
    folders = concept_dirs(root / SYNTHETIC, params)
    studies = [inputs.study, *([inputs.transductive] if inputs.transductive else [])]
    sctl = {model: read_sctl(params, model) for study in studies[1:] for model in study.models}
    return Finished(
        root=root,
        inputs=inputs,
        concepts=concepts,
        dreambooth=read_section(params, "dreambooth", DreamBoothParams),
        class_images=read_section(params, "class_images", ClassImagesParams),
        generators=generators,
        images=[image for folder in folders for image in read_synthetic(folder)],
        recipes={
            (model, arm): read_recipe(params, model, arm)
            for study in studies
            for model in study.models
            for arm in study.trained
        },
        sctl={model: settings for model, settings in sctl.items() if settings},
        hashes=hashes_of([*read_lock(root / LOCK).values()]),
    )


def _read_generator(root: Path, label: str, draw: int) -> Generator:
    folder = GENERATORS / label / str(draw)
    if not (root / folder).is_dir():
        raise FileNotFoundError(
            f"{folder}: no such generator; run `dvc pull {folder.parent}` or `dvc repro dreambooth`"
        )
    return Generator(label=label, draw=draw, photos=read_record(root / folder))
