"""The phantom data set: class counts, udders, sibling agreement, file names, and independence of photos."""

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdaug.common.images import read_png
from sdaug.phantom.params import CLASSES, PhantomParams
from sdaug.phantom.photo import draw_photo
from sdaug.phantom.photos import write_further, write_phantom
from sdaug.phantom.udders import Teat, plan_teats


def make_params(**changes: Any) -> PhantomParams:
    """Parameters with the real class counts, and some changes."""
    knobs: dict[str, Any] = {
        "train_counts": {"score_1": 450, "score_2": 491, "score_3": 187, "score_4": 21},
        "test_counts": {"score_1": 150, "score_2": 163, "score_3": 59, "score_4": 8},
        "size_pixels": 32,
        "zoom": 1.0,
        "ring_contrast": 0.8,
        "blur_pixels": 0.6,
        "noise": 0.03,
        "label_noise_fraction": 0.0,
        "seed": 0,
    }
    return PhantomParams(**(knobs | changes))


def tiny_params(**changes: Any) -> PhantomParams:
    """Parameters of a data set of 13 photos."""
    counts = {"score_1": 3, "score_2": 3, "score_3": 2, "score_4": 1}
    return make_params(**({"train_counts": counts, "test_counts": dict.fromkeys(CLASSES, 1)} | changes))


def by_udder(teats: list[Teat]) -> dict[str, list[Teat]]:
    groups = defaultdict(list)
    for teat in teats:
        groups[teat.udder].append(teat)
    return groups


@pytest.mark.parametrize("fraction", [0.0, 0.1])
def test_class_counts_are_exact_in_each_split(fraction: float) -> None:
    params = make_params(label_noise_fraction=fraction)
    counts = Counter((teat.split, teat.label) for teat in plan_teats(params))
    expected = {("train", name): number for name, number in params.train_counts.items()}
    assert counts == expected | {("test", name): number for name, number in params.test_counts.items()}


def test_no_udder_is_in_two_splits() -> None:
    for siblings in by_udder(plan_teats(make_params())).values():
        assert len({teat.split for teat in siblings}) == 1


def test_an_udder_has_at_most_one_teat_of_each_position() -> None:
    for siblings in by_udder(plan_teats(make_params())).values():
        assert len({teat.position for teat in siblings}) == len(siblings) <= 4


@pytest.mark.parametrize("seed", range(5))
def test_siblings_agree_as_often_as_real_ones(seed: int) -> None:
    train = [teat for teat in plan_teats(make_params(seed=seed)) if teat.split == "train"]
    pairs = [(a.label, b.label) for siblings in by_udder(train).values() for a, b in combinations(siblings, 2)]
    assert 0.60 <= np.mean([a == b for a, b in pairs]) <= 0.70


def test_most_udders_show_four_teats() -> None:
    sizes = Counter(len(siblings) for siblings in by_udder(plan_teats(make_params())).values())
    assert sizes[4] / sizes.total() == pytest.approx(324 / 404, abs=0.08)


def test_udder_numbers_say_nothing_of_score_or_split() -> None:
    teats = plan_teats(make_params())
    numbers = [int(teat.udder[1:]) for teat in teats]
    assert abs(np.corrcoef(numbers, [teat.score for teat in teats])[0, 1]) < 0.15
    assert abs(np.corrcoef(numbers, [teat.split == "test" for teat in teats])[0, 1]) < 0.15


def test_positions_say_nothing_of_the_score() -> None:
    teats = plan_teats(make_params())
    means = [
        np.mean([teat.score for teat in teats if teat.position == position]) for position in ("LF", "RF", "LH", "RH")
    ]
    assert np.ptp(means) < 0.2


def test_label_noise_moves_the_given_share_by_one() -> None:
    teats = plan_teats(make_params(label_noise_fraction=0.1))
    for split in ("train", "test"):
        moves = [abs(teat.score - int(teat.label[-1])) for teat in teats if teat.split == split]
        assert set(moves) == {0, 1}
        assert sum(moves) == round(0.1 * len(moves))
    assert {teat.score for teat in teats} == {1, 2, 3, 4}


def test_the_same_params_give_the_same_plan_and_another_seed_another() -> None:
    assert plan_teats(make_params()) == plan_teats(make_params())
    assert plan_teats(make_params()) != plan_teats(make_params(seed=1))


def test_a_photo_depends_on_no_other_photo() -> None:
    params = tiny_params()
    teats = plan_teats(params)
    forward = [draw_photo(teat, params) for teat in teats]
    backward = [draw_photo(teat, params) for teat in reversed(teats)][::-1]
    for one, other in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(one, other)


def test_all_photos_differ() -> None:
    params = tiny_params()
    photos = {draw_photo(teat, params).tobytes() for teat in plan_teats(params)}
    assert len(photos) == 13


@pytest.mark.parametrize("size", [32, 47, 96])
def test_a_photo_has_the_asked_size(size: int) -> None:
    params = tiny_params(size_pixels=size)
    photo = draw_photo(plan_teats(params)[0], params)
    assert photo.shape == (size, size, 3)
    assert photo.dtype == np.uint8


def test_a_photo_looks_the_same_at_another_size() -> None:
    small, large = tiny_params(noise=0.0), tiny_params(noise=0.0, size_pixels=128)
    teat = plan_teats(small)[0]
    reduced = draw_photo(teat, large).reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    assert np.mean(np.abs(reduced - draw_photo(teat, small))) < 5


def test_the_score_changes_the_photo_only_around_the_ring() -> None:
    params = tiny_params(noise=0.0)
    teat = plan_teats(params)[0]
    first, last = (draw_photo(replace(teat, score=score), params).astype(int) for score in (1, 4))
    assert np.abs(first - last).max() > 60
    np.testing.assert_array_equal(first[:8], last[:8])


def test_a_nearer_camera_sees_a_larger_ring() -> None:
    teat = next(teat for teat in plan_teats(tiny_params()) if teat.score == 3)

    def ring_pixels(zoom: float) -> int:
        plain, ringed = (
            draw_photo(teat, tiny_params(noise=0.0, zoom=zoom, ring_contrast=contrast)).astype(int)
            for contrast in (0.0, 1.0)
        )
        return int((np.abs(ringed - plain).max(axis=2) > 10).sum())

    assert ring_pixels(1.4) > 1.5 * ring_pixels(0.7) > 0


def test_without_contrast_the_scores_look_alike() -> None:
    params = tiny_params(noise=0.0, ring_contrast=0.0)
    teat = plan_teats(params)[0]
    first, second = (draw_photo(replace(teat, score=score), params).astype(int) for score in (1, 2))
    assert np.abs(first - second).mean() < 0.5


def test_files_are_named_by_udder_and_position_alone(tmp_path: Path) -> None:
    write_phantom(tiny_params(), tmp_path)
    paths = sorted(tmp_path.rglob("*.png"))
    assert len({path.name for path in paths}) == len(paths) == 13
    for path in paths:
        number, position = path.stem.split("_")
        assert number[0] == "u" and number[1:].isdigit() and position in ("LF", "RF", "LH", "RH")
    assert Counter(path.parent.name for path in paths if path.parts[-3] == "train") == tiny_params().train_counts


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_phantom(tiny_params(), tmp_path / name)
    for path in (tmp_path / "a").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size_pixels": 16}, "size_pixels: 16; need 32 to 512"),
        ({"size_pixels": 513}, "size_pixels: 513; need 32 to 512"),
        ({"zoom": 3.0}, "zoom: 3.0; need 0.5 to 2"),
        ({"ring_contrast": 1.5}, "ring_contrast: 1.5; need 0 to 1"),
        ({"blur_pixels": -1.0}, "blur_pixels: -1.0; need 0"),
        ({"noise": float("nan")}, "noise: nan, need a finite number"),
        ({"label_noise_fraction": 2.0}, "label_noise_fraction: 2.0; need 0 to 1"),
        ({"seed": -1}, "seed: -1; need 0 or more"),
        ({"train_counts": {"score_1": 5}}, "train_counts: .*need exactly the classes score_1"),
        ({"test_counts": dict.fromkeys(CLASSES, 0)}, "test_counts: .*need at least 1 photo"),
    ],
)
def test_a_bad_knob_is_refused_with_its_rule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_params(**changes)


def test_further_photos_are_as_many_as_asked_for_and_none_of_the_study(tmp_path: Path) -> None:
    params = make_params(train_counts=dict.fromkeys(CLASSES, 6), test_counts=dict.fromkeys(CLASSES, 2))
    files = write_further(params, {"score_1": 3, "score_4": 5}, tmp_path)
    assert {label: len(paths) for label, paths in files.items()} == {
        "score_1": 3,
        "score_2": 0,
        "score_3": 0,
        "score_4": 5,
    }
    own = {draw_photo(teat, params).tobytes() for teat in plan_teats(params)}
    further = {read_png(path).tobytes() for paths in files.values() for path in paths}
    assert len(further) == 8 and not own & further


def test_further_photos_are_the_same_each_time(tmp_path: Path) -> None:
    params = make_params(train_counts=dict.fromkeys(CLASSES, 6), test_counts=dict.fromkeys(CLASSES, 2))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_further(params, {"score_3": 2}, tmp_path / name)
    written = [sorted((path.name, path.read_bytes()) for path in (tmp_path / name).iterdir()) for name in ("a", "b")]
    assert written[0] == written[1]
