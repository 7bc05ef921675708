"""Places beside this machine where `sdaug grid` has stages run: Ray and Slurm."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, Protocol

from sdaug.check.study import StudyParams
from sdaug.run.engine import Engine, serve_engine
from sdaug.run.needs import Needs, list_needs
from sdaug.run.parcels import Parcels
from sdaug.run.ray_engine import connect_ray
from sdaug.run.slurm_engine import connect_slurm

MOST_SEATS = 64  # each is a DVC process here, of about 150 MB


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where stages run, as the command line says it; without `uses_gpus` stages ask for GPUs if any are known of.

    Workers that pull do not see the study's folder. `slurm` are options of sbatch.
    """

    on: Literal["ray", "slurm"]
    address: str | None = None
    uses_gpus: bool | None = None
    trainings_per_gpu: int = 2
    same_versions: bool = False
    same_hardware: bool = False
    pulls: bool = False
    slurm: Mapping[str, str]

    def __post_init__(self) -> None:
        if self.trainings_per_gpu < 1:
            raise ValueError(f"grid: --trainings-per-gpu {self.trainings_per_gpu}; need 1 or more")


class Room(Engine, Protocol):
    """An engine that knows how much room there is."""

    @property
    def has_gpus(self) -> bool:
        """Whether a stage that asks for a GPU gets one."""

    @property
    def address(self) -> str | None:
        """What another process joins it by."""

    def count_seats(self, needs: Needs) -> int:
        """How many stages with these needs run at once."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """A place that is ready: the environment variables that make DVC hand stages over, and what stages need."""

    place: Place
    engine: Room
    needs: Mapping[str, Needs]
    jobs_per_gpu: int
    environment: dict[str, str]

    def start(
        self, stages: Sequence[str], num_jobs: int | None
    ) -> tuple[contextlib.AbstractContextManager[dict[str, str]], Sequence[dict[str, str]]]:
        """The variables that hand stages over, and those of each of so many chains at once: all that fit by default."""
        fit = max(self.engine.count_seats(self.needs[stage]) for stage in stages)
        return contextlib.nullcontext(self.environment), [{}] * (num_jobs or min(MOST_SEATS, fit))

    def words(self, num_jobs: int | None) -> list[str]:
        """The options with which another `sdaug grid` uses the same place."""
        place = self.place
        flags = {
            "--gpu": place.uses_gpus is True,
            "--no-gpu": place.uses_gpus is False,
            "--same-versions": place.same_versions,
            "--same-hardware": place.same_hardware,
            "--pull": place.pulls,
        }
        values = {
            "--on": place.on,
            "--jobs": num_jobs,
            "--address": self.engine.address,
            "--jobs-per-gpu": self.jobs_per_gpu,
            "--trainings-per-gpu": place.trainings_per_gpu,
        }
        given = [(name, str(value)) for name, value in values.items() if value is not None]
        slurm = [("--slurm", f"{name}={value}") for name, value in place.slurm.items()]
        return [*(flag for flag, is_on in flags.items() if is_on), *chain.from_iterable([*given, *slurm])]


@contextlib.contextmanager
def open_place(place: Place, study: StudyParams, jobs_per_gpu: int) -> Iterator[Elsewhere]:
    """Make a place ready for the stages of a study until the block ends, which stops those that still run.

    Raises:
        ValueError: what the place needs is not installed, or nobody answers there.
    """
    parcels = Parcels(Path()) if place.pulls else None
    with _connect(place) as engine:
        needs = list_needs(
            study,
            has_gpus=engine.has_gpus if place.uses_gpus is None else place.uses_gpus,
            generators_per_gpu=jobs_per_gpu,
            trainings_per_gpu=place.trainings_per_gpu,
        )
        if parcels and not parcels.brings(study.base.model):
            del needs["base"]  # the stage loads it here
        served = serve_engine(
            engine, needs, same_versions=place.same_versions, same_hardware=place.same_hardware, parcels=parcels
        )
        with served as environment:
            yield Elsewhere(place=place, engine=engine, needs=needs, jobs_per_gpu=jobs_per_gpu, environment=environment)


def _connect(place: Place) -> contextlib.AbstractContextManager[Room]:
    return connect_ray(place.address) if place.on == "ray" else contextlib.nullcontext(connect_slurm(place.slurm))
