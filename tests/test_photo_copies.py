"""Copies among photos: which pairs are compared, and in how much memory."""

import itertools

import numpy as np
import pytest

from sdaug.common import photo_copies
from sdaug.common.photo_copies import _near_hashes

HASHES = np.random.default_rng(0).integers(0, 2**64, 200, dtype=np.uint64)
HASHES[150] = HASHES[20] ^ np.uint64(0b1011)
HASHES[199] = HASHES[151] = HASHES[0]


@pytest.mark.parametrize("is_once", [False, True])
def test_pairs_are_those_of_a_loop_and_memory_holds_few_of_them(monkeypatch: pytest.MonkeyPatch, is_once: bool) -> None:
    held = list[int]()
    count = np.bitwise_count

    def count_cells(bits: np.ndarray) -> np.ndarray:
        held.append(bits.size)
        return count(bits)

    monkeypatch.setattr(np, "bitwise_count", count_cells)
    monkeypatch.setattr(photo_copies, "CELLS_AT_ONCE", 2000)
    found = {
        (int(one), int(other), int(bits))
        for i, j, distances in _near_hashes(HASHES, HASHES, 12, is_once=is_once)
        for one, other, bits in zip(i, j, distances, strict=True)
    }
    expected = {(0, 151, 0), (0, 199, 0), (151, 199, 0), (20, 150, 3)}
    if not is_once:
        expected |= {(j, i, bits) for i, j, bits in expected} | {(i, i, 0) for i in range(200)}
    assert found == expected
    # Half of all pairs, and a few more on the diagonal, where each pair is looked for once.
    assert max(held) <= 2000 and sum(held) == (200 * 210 / 2 if is_once else 200 * 200)


def test_a_distance_is_the_number_of_bits() -> None:
    some = HASHES[:20]
    found = {
        (int(one), int(other)): int(bits)
        for i, j, distances in _near_hashes(some, some, 64, is_once=True)
        for one, other, bits in zip(i, j, distances, strict=True)
    }
    assert found == {(i, j): (int(some[i]) ^ int(some[j])).bit_count() for i, j in itertools.combinations(range(20), 2)}
