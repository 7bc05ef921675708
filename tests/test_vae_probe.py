"""The probe of the VAE holds out whole groups of photos."""

from collections.abc import Sequence

import numpy as np
import pytest

from sdaug.fidelity.vae import HELD_OUT_FRACTION, measure_vae, split_by_group


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_on_both_sides(seed: int) -> None:
    groups = [f"g{index // 4}" for index in range(200)]
    train, held_out = split_by_group(groups, seed=seed)
    assert not {groups[i] for i in train} & {groups[i] for i in held_out}
    assert sorted([*train, *held_out]) == list(range(200))
    assert len(held_out) == pytest.approx(HELD_OUT_FRACTION * 200, abs=3)


@pytest.mark.parametrize("groups", [["a", "b"], ["a"] * 9 + ["b"], ["a", "b", "c", "d"]])
def test_both_sides_have_a_group_however_few_there_are(groups: Sequence[str]) -> None:
    train, held_out = split_by_group(groups, seed=0)
    assert {groups[i] for i in train} ^ {groups[i] for i in held_out} == set(groups)
    assert len(train) and len(held_out)


def test_photos_of_one_group_have_no_accuracy() -> None:
    photos = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    found = measure_vae(photos, photos, np.array([0, 1, 0, 1]), ["a"] * 4, ["x", "y"], seed=0)
    assert found == {"squared_error": 0.0, "accuracy_on_photos": None, "accuracy_on_reconstructions": None}
