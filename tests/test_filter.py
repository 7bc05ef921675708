"""The filter's judge prefers images of their class, and its table counts what arms keep."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_sampling import FROM_NOISE

from sdaug.common.synthetic import PLAIN, SyntheticImage
from sdaug.filter.opinions import Filter, TrainingPhotos, opinion_rows, summarize
from sdaug.verdict import letters
from sdaug.verdict.letters import Filtered, Quartiles
from sdaug.verdict.stage_tables import filter_tables

CLASSES = ["dark", "light"]


def of_class(k: int, count: int, seed: int) -> NDArray[np.uint8]:
    """Noisy photos, dark or light."""
    values = np.random.default_rng(seed).normal(60 + 130 * k, 25, (count, 48, 48, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def drawn(draw: int, seed: int) -> SyntheticImage:
    return SyntheticImage(
        label="light",
        draw=draw,
        variant=PLAIN,
        photo="",
        seed=seed,
        prompt="a",
        height=48,
        width=48,
        drawing=FROM_NOISE,
    )


@pytest.fixture(scope="module")
def judge() -> Filter:
    pixels = np.concatenate([of_class(0, 20, 0), of_class(1, 8, 1)])
    return Filter(TrainingPhotos(pixels=pixels, reconstructed=pixels, labels=np.repeat([0, 1], [20, 8])), CLASSES)


def test_images_of_their_class_come_first(judge: Filter) -> None:
    pixels = np.concatenate([of_class(1, 3, 2), of_class(0, 3, 3)])
    images = [drawn(n % 2, n) for n in range(6)]
    rows = opinion_rows(images, judge.probabilities(pixels), CLASSES)
    assert [row["named"] for row in rows] == ["light"] * 3 + ["dark"] * 3
    best = sorted(rows, key=lambda row: -row["probability"])[:3]
    assert {row["id"] for row in best} == {image.id for image in images[:3]}
    summary = summarize(rows)
    assert summary["recognized"] == 0.5
    assert (summary["num_images"], summary["num_of_draw"]) == (6, {"0": 3, "1": 3})
    assert summary["probability"]["quarter"] <= summary["probability"]["half"]


def test_image_keeps_its_id_whatever_its_variant() -> None:
    assert drawn(0, 5).id == replace(drawn(0, 5), variant="near").id


def test_table_counts_what_each_arm_keeps() -> None:
    probability = Quartiles(quarter=0.1, half=0.2, three_quarters=0.3)
    found = Filtered(num_images=7, num_of_draw={"0": 4, "1": 3}, recognized=0.5, probability=probability)
    letter = letters.Filter(classes={"rare": found})
    arms: dict[str, dict[str, Any]] = {
        "all": {"images": {"keep_share": 1.0}},
        "best": {"images": {"synthetic": 1.0, "keep_share": 0.5}},
    }
    (table,) = filter_tables(letter, arms)
    assert table.header[-1] == "kept for best" and table.rows == (("rare", "7", "50.0", "10.0", "20.0", "4"),)
    assert filter_tables(letter, {"all": {"images": {"keep_share": 1.0}}}) == []
