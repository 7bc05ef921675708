"""Composition of arms: the numbers of the slides, and the guarantees of the clean protocol."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from arms import arm_images

from sdaug.common.manifest import Photo, training_photos
from sdaug.common.params import Fold, Protocol, SplitParams
from sdaug.datasets.arms import Example, choose_synthetic, compose_arm, count_missing, keep_best
from sdaug.datasets.params import ArmImages

REAL = {"score_1": 450, "score_2": 491, "score_3": 187, "score_4": 21}
SYNTHETIC = {"score_1": 41, "score_2": 0, "score_3": 304, "score_4": 470}
NUM_FOLDS, NUM_TEST = 4, 40


def build_photos() -> list[Photo]:
    """Two photos per animal; animals of the test set are in no other split."""
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
        Example(id=f"synthetic-{label}-{index:04}", label=label, origin="synthetic", part="train", source=Path("x.png"))
        for label, count in SYNTHETIC.items()
        for index in range(count)
    ]


PHOTOS, DRAWN = build_photos(), build_synthetic()


def arm(synthetic: float, **knobs: Any) -> ArmImages:
    return arm_images(synthetic=synthetic, **knobs)


def compose(
    photos: Sequence[Photo] = PHOTOS, drawn: Sequence[Example] = DRAWN, *, arm: ArmImages, split: SplitParams
) -> list[Example]:
    return compose_arm(photos, drawn, images_dir=Path("images"), arm=arm, split=split)


def of_training(times: float) -> dict[str, int]:
    return count_missing(training_photos(PHOTOS, split("published", fold=0)), times=times)


def split(protocol: Protocol, *, fold: Fold = 1, seed: int = 0) -> SplitParams:
    return SplitParams(protocol=protocol, fold=fold, validation_fraction=0.2, seed=seed)


def part(examples: Iterable[Example], name: str) -> list[Example]:
    return [example for example in examples if example.part == name]


@pytest.mark.parametrize(("fraction", "num_train", "num_validation"), [(1.0, 1571, 393), (0.0, 919, 230)])
def test_published_arm_has_the_numbers_of_the_slides(fraction: float, num_train: int, num_validation: int) -> None:
    examples = compose(arm=arm(fraction), split=split("published"))
    assert (len(part(examples, "train")), len(part(examples, "validation"))) == (num_train, num_validation)


def test_published_pool_is_everything_but_test() -> None:
    examples = compose(arm=arm(1.0), split=split("published"))
    wanted = [photo.id for photo in PHOTOS if photo.split == "train"] + [example.id for example in DRAWN]
    assert sorted(example.id for example in examples) == sorted(wanted)


def test_clean_validation_is_the_fold_and_only_that() -> None:
    examples = compose(arm=arm(1.0), split=split("clean", fold=2))
    wanted = sorted(photo.id for photo in PHOTOS if photo.split == "train" and photo.fold == 2)
    assert [example.id for example in part(examples, "validation")] == wanted


def test_clean_validation_is_real() -> None:
    examples = compose(arm=arm(1.0), split=split("clean"))
    assert {example.origin for example in part(examples, "validation")} == {"real"}


def test_clean_arm_is_balanced_in_training() -> None:
    examples = compose(arm=arm(1.0), split=split("clean"))
    training = Counter(example.label for example in part(examples, "train"))
    assert set(training.values()) == {max(training.values())}


def test_clean_arm_has_no_group_in_both_parts() -> None:
    examples = compose(arm=arm(1.0), split=split("clean"))
    group_of = {photo.id: photo.group for photo in PHOTOS}
    train, validation = (
        {group_of[example.id] for example in part(examples, name) if example.origin == "real"}
        for name in ("train", "validation")
    )
    assert not train & validation


def test_arms_differ_in_synthetic_images_alone() -> None:
    with_all, with_none = (compose(arm=arm(fraction), split=split("clean")) for fraction in (1.0, 0.0))
    assert [example for example in with_all if example.origin == "real"] == with_none


def test_generator_sees_neither_validation_nor_test() -> None:
    examples = compose(arm=arm(1.0), split=split("clean"))
    seen = {photo.id for photo in training_photos(PHOTOS, split("clean", fold=1))}
    hidden = {example.id for example in part(examples, "validation")}
    hidden |= {photo.id for photo in PHOTOS if photo.split == "test"}
    assert not seen & hidden


@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_no_arm_holds_a_test_photo(protocol: Protocol) -> None:
    examples = compose(arm=arm(1.0), split=split(protocol))
    assert not {example.id for example in examples} & {photo.id for photo in PHOTOS if photo.split == "test"}


@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_arm_does_not_depend_on_the_order_of_its_inputs(protocol: Protocol) -> None:
    there, back = (
        compose(photos, drawn, arm=arm(0.5), split=split(protocol))
        for photos, drawn in ((PHOTOS, DRAWN), (PHOTOS[::-1], DRAWN[::-1]))
    )
    assert there == back


def test_published_parts_follow_from_the_seed() -> None:
    first, second = (compose(arm=arm(1.0), split=split("published", seed=seed)) for seed in (0, 1))
    assert part(first, "validation") != part(second, "validation")


def test_more_images_contain_fewer() -> None:
    shares = [
        {example.id for example in choose_synthetic(DRAWN, of_training(times), seed=3)}
        for times in (0.0, 0.2, 0.5, 1.0)
    ]
    assert all(small < large for small, large in itertools.pairwise(shares))


def test_multiples_are_of_what_each_class_lacks() -> None:
    chosen = [example.label for example in choose_synthetic(DRAWN, of_training(0.5), seed=3)]
    assert {label: chosen.count(label) for label in SYNTHETIC} == {
        label: round(count / 2) for label, count in SYNTHETIC.items()
    }


def test_too_few_synthetic_images_are_named() -> None:
    with pytest.raises(ValueError, match=r"needs 82 images of score_1, there are 41; raise synthesize.multiple"):
        compose(arm=arm(2.0), split=split("published"))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"synthetic": -0.1}, "synthetic: -0.1; need 0 to 100"),
        ({"duplicated": -1.0}, "duplicated: -1.0; need 0 to 100"),
        ({"duplicated": 1.0, "synthetic": 1.0, "real": False}, "duplicated: 1.0; there are no photos to repeat"),
        ({"oracle": 101.0}, "oracle: 101.0; need 0 to 100"),
        ({"real": False}, "real: False; without synthetic images nothing is left"),
        ({"shuffle_labels": True}, "shuffle_labels: True; there are no synthetic labels"),
        ({"per_class": -1}, "per_class: -1; need 0"),
        ({"per_class": 5, "synthetic": 1.0}, "per_class: 5; need synthetic: 0 beside it, and it is 1.0"),
    ],
)
def test_senseless_images_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arm_images(**knobs)


def test_shuffled_arm_has_the_images_and_label_counts_of_the_augmented_one() -> None:
    plain, shuffled = (
        part(compose(arm=arm(1.0, shuffle_labels=is_on), split=split("published")), "train") for is_on in (False, True)
    )
    assert {example.id for example in plain} == {example.id for example in shuffled}
    changed = [a for a, b in zip(plain, shuffled, strict=True) if a.label != b.label]
    assert {example.origin for example in changed} == {"synthetic"}
    whole = [compose(arm=arm(1.0, shuffle_labels=is_on), split=split("clean")) for is_on in (False, True)]
    counts = [Counter(example.label for example in examples) for examples in whole]
    assert counts[0] == counts[1]


def test_without_real_images_only_a_class_that_is_not_synthesized_keeps_its_photos() -> None:
    examples = part(compose(arm=arm(0.5, real=False), split=split("clean")), "train")
    assert {example.label for example in examples if example.origin == "real"} == {"score_2"}
    assert {example.label for example in examples} == set(REAL)


def test_without_a_fold_everything_trains_and_nothing_validates() -> None:
    examples = compose(arm=arm(0.0), split=split("clean", fold="none"))
    assert len(part(examples, "train")) == sum(REAL.values())
    assert not part(examples, "validation")


def test_further_photos_join_the_training() -> None:
    further = [Example(id="oracle-1", label="score_4", origin="oracle", part="train", source=Path("o.png"))]
    examples = compose_arm(PHOTOS, DRAWN, further, images_dir=Path("i"), arm=arm(0.0), split=split("clean"))
    assert [example.id for example in part(examples, "train") if example.origin != "real"] == ["oracle-1"]


def of_draw(draw: int) -> list[Example]:
    return [replace(example, id=f"{example.id}-{draw}", draw=draw) for example in DRAWN]


@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_each_draw_is_composed_as_it_would_be_alone(protocol: Protocol) -> None:
    both = compose(drawn=[*of_draw(0), *of_draw(1)], arm=arm(1.0), split=split(protocol))
    for draw in (0, 1):
        alone = compose(drawn=of_draw(draw), arm=arm(1.0), split=split(protocol))
        assert [example for example in both if example.draw in (None, draw)] == alone


def test_arm_without_synthetic_images_is_the_same_for_all_draws() -> None:
    examples = compose(drawn=[*of_draw(0), *of_draw(1)], arm=arm(0.0), split=split("clean"))
    assert examples == compose(drawn=[], arm=arm(0.0), split=split("clean"))


def test_filter_keeps_the_best_share_of_each_class_and_draw() -> None:
    drawn = [
        Example(id=f"{label}{draw}{n}", label=label, origin="synthetic", part="train", source=Path("x"), draw=draw)
        for label in ("a", "b")
        for draw in (0, 1)
        for n in range(4)
    ]
    opinions = {example.id: int(example.id[-1]) / 10 + (example.label == "a") * 0.5 for example in drawn}
    kept = keep_best(drawn, opinions, 0.5)
    assert [example.id for example in kept] == ["a02", "a03", "a12", "a13", "b02", "b03", "b12", "b13"]
    assert keep_best(drawn, opinions, 1.0) == sorted(drawn, key=lambda example: example.id)


def test_image_that_the_filter_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match=r"data/filter\.csv: synthetic-score_1-0000: no such row; run `dvc repro filt"):
        keep_best(DRAWN, {}, 0.5)


@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_arm_of_one_number_has_as_many_images_of_each_class_with_a_generator(protocol: Protocol) -> None:
    examples = compose(arm=arm_images(per_class=30), split=split(protocol))
    counts = Counter(example.label for example in examples if example.origin == "synthetic")
    assert counts == {label: 30 for label, count in SYNTHETIC.items() if count}


def test_more_of_one_number_contain_fewer() -> None:
    few, many = (
        {example.id for example in compose(arm=arm_images(per_class=count), split=split("clean"))} for count in (10, 20)
    )
    assert few < many


def test_arm_of_one_number_has_the_images_of_every_draw() -> None:
    examples = compose(drawn=[*of_draw(0), *of_draw(1)], arm=arm_images(per_class=5), split=split("clean"))
    assert Counter(example.draw for example in examples if example.origin == "synthetic") == {0: 15, 1: 15}


def repeats_of(examples: Iterable[Example]) -> list[Example]:
    return [example for example in examples if example.id.startswith("repeated-")]


def test_repeated_photos_make_classes_as_large_as_synthetic_images_do() -> None:
    repeated, augmented = (
        Counter(example.label for example in part(compose(arm=images, split=split("clean")), "train"))
        for images in (arm_images(duplicated=1.0), arm(1.0))
    )
    assert repeated == augmented


def test_repeated_photos_are_those_of_the_class_and_each_as_often_as_the_others() -> None:
    examples = compose(arm=arm_images(duplicated=1.3), split=split("clean"))
    assert len({example.id for example in examples}) == len(examples)
    photo_of = {example.id: example for example in part(examples, "train") if not example.photo}
    for example in repeats_of(examples):
        photo = photo_of[example.photo]
        assert (example.label, example.source, example.origin) == (photo.label, photo.source, "real")
    for label in ("score_1", "score_3", "score_4"):
        turns = Counter(example.photo for example in repeats_of(examples) if example.label == label)
        every = [turns[name] for name, photo in photo_of.items() if photo.label == label]
        assert max(every) - min(every) <= 1


def test_more_repetitions_contain_fewer_and_follow_from_the_seed() -> None:
    few, many = (repeats_of(compose(arm=arm_images(duplicated=times), split=split("clean"))) for times in (0.1, 0.5))
    assert 0 < len(few) < len(many) and set(few) < set(many)
    assert set(repeats_of(compose(arm=arm_images(duplicated=0.1), split=split("clean", seed=1)))) != set(few)


@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_no_photo_validates_beside_its_repetition(protocol: Protocol) -> None:
    examples = compose(arm=arm_images(duplicated=1.0), split=split(protocol))
    plain = compose(arm=arm(0.0), split=split(protocol))
    assert part(examples, "validation") == part(plain, "validation")
    repeated = {example.photo for example in repeats_of(examples)}
    assert repeated and not repeated & {example.id for example in part(examples, "validation")}


def test_repeated_photos_are_the_same_for_all_draws_of_the_generators() -> None:
    images = arm_images(synthetic=0.1, duplicated=1.0)
    both = compose(drawn=[*of_draw(0), *of_draw(1)], arm=images, split=split("clean"))
    assert repeats_of(both) == repeats_of(compose(drawn=of_draw(1), arm=images, split=split("clean")))
