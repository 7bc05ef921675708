"""What the pretrained base has seen, for the reports of studies that start from it."""

from collections.abc import Sequence

from sdaug.common.files import read_csv
from sdaug.common.seen import Seen
from sdaug.pretrain.params import WorldParams


def describe_world(world: WorldParams) -> Seen:
    """The images of a pretraining, in words and by kind."""
    num_procedural = world.num_leaves + world.num_objects
    num_sources = len(read_csv(world.photos)) if world.photos else 0
    kinds = (
        (world.num_teats, f"{world.num_teats:,} simulated teat ends {_scores(world.teat_scores)}"),
        (num_procedural, f"{num_procedural:,} procedural pictures"),
        (world.num_photos, f"{world.num_photos:,} cuts from {num_sources} free photos"),
    )
    return Seen(
        summary=_listed([text for number, text in kinds if number]) + "; none of this study",
        counts={
            "teats": world.num_teats,
            "leaves": world.num_leaves,
            "objects": world.num_objects,
            "photo_cuts": world.num_photos,
            "photos": num_sources,
        },
        num_adapted=0,
    )


def _scores(scores: Sequence[int]) -> str:
    first, last = min(scores), max(scores)
    if len(scores) > 2 and set(scores) == set(range(first, last + 1)):
        return f"of scores {first} to {last}"
    return f"of score {_listed(list(map(str, scores)))}"


def _listed(words: Sequence[str]) -> str:
    """Words with commas between them, and `and` before the last one."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
