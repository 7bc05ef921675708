"""The arms: the slides' numbers, and what may not happen in the clean protocol."""

import itertools
from collections.abc import Iterable

import pytest

from sdaug.data.arms import ArmParams, Example, SplitParams, choose_synthetic, compose_arm
from sdaug.manifest import Photo, Protocol, training_photos

REAL = {"score_1": 450, "score_2": 491, "score_3": 187, "score_4": 21}
SYNTHETIC = {"score_1": 41, "score_2": 0, "score_3": 304, "score_4": 470}
NUM_FOLDS, NUM_TEST = 4, 40


def build_photos() -> list[Photo]:
    """Two photos an animal, all animals of test apart."""
    labels = [label for label, count in REAL.items() for _ in range(count)] + ["score_1"] * NUM_TEST
    num_train = len(labels) - NUM_TEST
    return [
        Photo(
            id=f"{(index * 7919) % 10007:05}",
            label=label,
            group=f"{'u' if index < num_train else 't'}{index // 2}",
            split="train" if index < num_train else "test",
            fold=(index // 2) % NUM_FOLDS if index < num_train else -1,
            sha256="",
        )
        for index, label in enumerate(labels)
    ]


def build_synthetic() -> list[Example]:
    return [
        Example(id=f"synthetic-{label}-{index:04}", label=label, origin="synthetic", part="train", source="x.png")
        for label, count in SYNTHETIC.items()
        for index in range(count)
    ]


PHOTOS, DRAWN = build_photos(), build_synthetic()


def arm(fraction: float) -> ArmParams:
    return ArmParams(synthetic_fraction=fraction, loss="cross_entropy", focal_gamma=2.0)


def split(protocol: Protocol, *, fold: int = 1, seed: int = 0) -> SplitParams:
    return SplitParams(protocol=protocol, fold=fold, validation_fraction=0.2, seed=seed)


def part(examples: Iterable[Example], name: str) -> list[Example]:
    return [example for example in examples if example.part == name]


@pytest.mark.parametrize(("fraction", "num_train", "num_validation"), [(1.0, 1571, 393), (0.0, 919, 230)])
def test_published_arm_has_the_numbers_of_the_slides(fraction: float, num_train: int, num_validation: int) -> None:
    examples = compose_arm(PHOTOS, DRAWN, arm=arm(fraction), split=split("published"))
    assert (len(part(examples, "train")), len(part(examples, "validation"))) == (num_train, num_validation)


def test_published_pool_is_everything_but_test() -> None:
    examples = compose_arm(PHOTOS, DRAWN, arm=arm(1.0), split=split("published"))
    wanted = [photo.id for photo in PHOTOS if photo.split == "train"] + [example.id for example in DRAWN]
    assert sorted(example.id for example in examples) == sorted(wanted)


def test_clean_validation_is_the_fold_and_only_that() -> None:
    examples = compose_arm(PHOTOS, DRAWN, arm=arm(1.0), split=split("clean", fold=2))
    wanted = sorted(photo.id for photo in PHOTOS if photo.split == "train" and photo.fold == 2)
    assert [example.id for example in part(examples, "validation")] == wanted


def test_clean_validation_is_real() -> None:
    examples = compose_arm(PHOTOS, DRAWN, arm=arm(1.0), split=split("clean"))
    assert {example.origin for example in part(examples, "validation")} == {"real"}


def test_clean_arm_has_every_synthetic_image_in_training() -> None:
    examples = compose_arm(PHOTOS, DRAWN, arm=arm(1.0), split=split("clean"))
    training = {example.id for example in part(examples, "train") if example.origin == "synthetic"}
    assert training == {example.id for example in DRAWN}


def test_clean_arm_has_no_group_in_both_parts() -> None:
    examples = compose_arm(PHOTOS, DRAWN, arm=arm(1.0), split=split("clean"))
    group_of = {photo.id: photo.group for photo in PHOTOS}
    train, validation = (
        {group_of[example.id] for example in part(examples, name) if example.origin == "real"}
        for name in ("train", "validation")
    )
    assert not train & validation


def test_arms_differ_in_synthetic_images_alone() -> None:
    with_all, with_none = (
        compose_arm(PHOTOS, DRAWN, arm=arm(fraction), split=split("clean")) for fraction in (1.0, 0.0)
    )
    assert [example for example in with_all if example.origin == "real"] == with_none


def test_generator_sees_neither_validation_nor_test() -> None:
    examples = compose_arm(PHOTOS, DRAWN, arm=arm(1.0), split=split("clean"))
    seen = {photo.id for photo in training_photos(PHOTOS, protocol="clean", fold=1)}
    hidden = {example.id for example in part(examples, "validation")}
    hidden |= {photo.id for photo in PHOTOS if photo.split == "test"}
    assert not seen & hidden


@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_no_arm_holds_a_test_photo(protocol: Protocol) -> None:
    examples = compose_arm(PHOTOS, DRAWN, arm=arm(1.0), split=split(protocol))
    assert not {example.id for example in examples} & {photo.id for photo in PHOTOS if photo.split == "test"}


@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_arm_does_not_depend_on_the_order_of_its_inputs(protocol: Protocol) -> None:
    there, back = (
        compose_arm(photos, drawn, arm=arm(0.5), split=split(protocol))
        for photos, drawn in ((PHOTOS, DRAWN), (PHOTOS[::-1], DRAWN[::-1]))
    )
    assert there == back


def test_published_parts_follow_from_the_seed() -> None:
    first, second = (compose_arm(PHOTOS, DRAWN, arm=arm(1.0), split=split("published", seed=seed)) for seed in (0, 1))
    assert part(first, "validation") != part(second, "validation")


def test_larger_share_contains_the_smaller() -> None:
    shares = [{example.id for example in choose_synthetic(DRAWN, fraction=f, seed=3)} for f in (0.0, 0.2, 0.5, 1.0)]
    assert all(small < large for small, large in itertools.pairwise(shares))


def test_share_is_taken_of_each_class() -> None:
    chosen = [example.label for example in choose_synthetic(DRAWN, fraction=0.5, seed=3)]
    assert {label: chosen.count(label) for label in SYNTHETIC} == {
        label: round(count / 2) for label, count in SYNTHETIC.items()
    }


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_share_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"synthetic_fraction: .*need 0 to 1"):
        arm(fraction)
