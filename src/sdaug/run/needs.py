"""What each stage needs of a machine, and which takes longest: for engines that place stages on several machines."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sdaug.check.disk import base_bytes
from sdaug.check.study import StudyParams
from sdaug.common.params import resolve_seeds
from sdaug.train.params import resolve_recipe

GENERATORS = ("base", "class_images", "dreambooth", "synthesize", "reconstruct")
CLASSIFIERS = ("train", "evaluate")
FEATURES = ("filter", "fidelity")  # these take one thread each, so that their results do not depend on it
# Copies of the weights that a stage holds: training has gradients and two moments, drawing loads weights beside them.
COPIES = {"base": 4, "dreambooth": 4}
DRAWING_COPIES = 2
# Libraries and a batch; the stages of the default study peak at 1.2 GB (docs/benchmarks.md).
LEAST_BYTES = 2_000_000_000
GPU_CORES = 4  # beside a GPU cores decode and encode images


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a stage asks for: threads, which a result on a CPU depends on, a share of a GPU or none, and memory.

    With more than one shard, each of them asks for that, and the stage itself only collects them.
    """

    cores: int
    gpu_share: float
    memory_bytes: int
    shards: int = 1


def list_needs(
    study: StudyParams, *, has_gpus: bool, generators_per_gpu: int, trainings_per_gpu: int
) -> dict[str, Needs]:
    """What each stage needs that is worth another machine, by name; all others stay with DVC."""
    whole, _ = base_bytes(study.base.model)
    needs = dict[str, Needs]()
    for stage in GENERATORS:
        cores = GPU_CORES if has_gpus else count_cores()
        memory = LEAST_BYTES + COPIES.get(stage, DRAWING_COPIES) * whole
        shards = study.synthesize.shards if stage == "synthesize" else 1
        share = has_gpus / generators_per_gpu
        needs[stage] = Needs(cores=cores, gpu_share=share, memory_bytes=memory, shards=shards)
    for stage in CLASSIFIERS:
        cores, share = study.train.num_threads, has_gpus / trainings_per_gpu
        needs[stage] = Needs(cores=cores, gpu_share=share, memory_bytes=LEAST_BYTES)
    for stage in FEATURES:
        memory = LEAST_BYTES + DRAWING_COPIES * whole
        needs[stage] = Needs(cores=1, gpu_share=has_gpus / generators_per_gpu, memory_bytes=memory)
    return needs


def count_cores() -> int:
    """The threads that a stage would take here, so that it gives the same bytes elsewhere."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return int(chosen) if chosen.isdecimal() and int(chosen) else len(os.sched_getaffinity(0))


def longest_first(
    chains: Sequence[Sequence[str]], study: StudyParams, classifier_bytes: Mapping[str, int], photos: Mapping[str, int]
) -> list[Sequence[str]]:
    """The chains, those first that take longest by an estimate; those that take as long stay in order.

    `photos` are the numbers of training photos by class. So the last chain to end is a short one.
    """
    return sorted(chains, key=lambda chain: -estimate_work(chain[0], study, classifier_bytes, photos))


def estimate_work(
    stage: str, study: StudyParams, classifier_bytes: Mapping[str, int], photos: Mapping[str, int]
) -> float:
    """The work of a stage, to compare with that of others of its name alone; infinite if it stands alone."""
    name, _, item = stage.partition("@")
    if name == "train":
        model = max((model for model in study.classifiers if item.startswith(f"{model}-")), key=len)
        entry = study.classifiers[model]
        recipe = resolve_recipe(study.recipe, entry, item.removeprefix(f"{model}-"), where=model)
        images = recipe.steps * recipe.batch_size if recipe.steps else (recipe.epochs or 1) * sum(photos.values())
        runs = len(resolve_seeds(study.seeds, entry, where=model))
        # Multiplications grow with the weights and the area.
        return float(runs * images * recipe.image_size**2 * classifier_bytes.get(model, 1))
    if item:  # generators train as long for each class, but draw what the class lacks
        return float(max(photos.values(), default=0) - photos.get(item, 0))
    return float("inf")


def training_photos(report: Mapping[str, object]) -> dict[str, int]:
    """The numbers of training photos by class, from metrics/prepare.json."""
    return {key.removeprefix("train."): int(str(n)) for key, n in report.items() if key.startswith("train.")}
