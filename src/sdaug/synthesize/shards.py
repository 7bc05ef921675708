"""Shards of synthesis: parts of a class's images that several machines draw, each whole batches, and their collection.

A shard is a folder of images with their manifest, as the whole is, and a file of counts and of what it was drawn from.
"""

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from sdaug.common.files import read_json, write_json
from sdaug.common.synthetic import SyntheticImage, read_synthetic, write_synthetic

FACTS = "shard.json"

Counts = dict[str, dict[str, dict[str, int]]]  # by draw, variant and reason


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of `total` parts, by its number from 1 on."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def folder(self, out: Path) -> Path:
        """Where this part of what belongs to `out` is kept until all parts are there."""
        return shards_dir(out) / f"{self.number}-of-{self.total}"

    def share(self, num_images: int, batch_sizes: Sequence[int]) -> list[range]:
        """The indices of the images that this shard draws of each of several drawings of `num_images`.

        Shards are consecutive runs of batches, so that batches are those of an undivided run, images stay in order,
        and a shard loads few generators.
        """
        counts = [ceil(num_images / size) for size in batch_sizes]
        first, last = (sum(counts) * number // self.total for number in (self.number - 1, self.number))
        shares, begin = list[range](), 0
        for size, count in zip(batch_sizes, counts, strict=True):
            low, high = (min(max(batch - begin, 0), count) for batch in (first, last))
            shares.append(range(min(low * size, num_images), min(high * size, num_images)))
            begin += count
        return shares


WHOLE = Shard(number=1, total=1)


def read_shard(text: str) -> Shard:
    """The shard that `--shard NUMBER/TOTAL` names.

    Raises:
        ValueError: it is not of this form, or there is no such number.
    """
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text, re.ASCII)
    number, total = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= total:
        raise ValueError(f"--shard {text}; need NUMBER/TOTAL with a number from 1 to the total, such as 2/4")
    return Shard(number=number, total=total)


def shards_dir(out: Path) -> Path:
    """The folder of all shards of `out`, which neither Git nor DVC sees."""
    return out.with_name(f".{out.name}.shards.partial")


def is_drawn(folder: Path, key: str) -> bool:
    """Whether a folder holds a shard that was drawn from what `key` is the hash of."""
    path = folder / FACTS
    return path.is_file() and read_json(path).get("key") == key


def write_shard(folder: Path, images: Sequence[SyntheticImage], counts: Counts, key: str) -> None:
    """Write what belongs to the images of a shard."""
    if images:
        write_synthetic(folder, images)
    write_json(folder / FACTS, {"key": key, "num_images": len(images), "counts": counts})


def collect_shards(out: Path, total: int, key: str, folder: Path) -> tuple[list[SyntheticImage], Counts] | None:
    """Copy the images of all shards of `out` into a folder; their records, in order, and counts.

    None if not all of them are there, drawn from what `key` is the hash of.

    Raises:
        ValueError: shards were drawn in different precisions, or two hold the same image.
    """
    parts = [Shard(number=number, total=total).folder(out) for number in range(1, total + 1)]
    if not all(is_drawn(part, key) for part in parts):
        return None
    images, counts = list[SyntheticImage](), Counts()
    for part in parts:
        facts = read_json(part / FACTS)
        drawn = read_synthetic(part) if facts["num_images"] else []
        for image in drawn:
            shutil.copyfile(part / image.file_name, folder / image.file_name)
        images += drawn
        _add_counts(counts, facts["counts"])
    precisions = {image.drawing.precision for image in images}
    if len(precisions) > 1:
        rule = "need one; name it in synthesize.drawing.precision, or have machines of one kind draw"
        raise ValueError(f"{out}: shards were drawn in {' and '.join(sorted(precisions))}; {rule}")
    _require_distinct(folder, images)
    return images, counts


def _add_counts(counts: Counts, more: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    for draw, variants in more.items():
        for variant, reasons in variants.items():
            known = counts.setdefault(draw, {}).setdefault(variant, dict.fromkeys(reasons, 0))
            for reason, count in reasons.items():
                known[reason] += count


def _require_distinct(folder: Path, images: Sequence[SyntheticImage]) -> None:
    """Images of one generator and variant differ, as a shard has seen to for its own."""
    seen = dict[tuple[int, str, bytes], SyntheticImage]()
    for image in images:
        digest = hashlib.sha256((folder / image.file_name).read_bytes()).digest()
        other = seen.setdefault((image.draw, image.variant, digest), image)
        if other is not image:
            raise ValueError(
                f"{image.label}: {other.id} and {image.id}, from two shards, are the same image; with "
                "synthesize.shards: 1 in params.yaml such an image is drawn again"
            )
