"""The exchange rate of generated images and true photos: by hand, and its interval in simulated studies."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from studies import report
from test_results import CLASSES, LABELS, MODELS, SEEDS, predict, write_run

from sdaug.verdict.exchange import Exchange, fieller, find_exchange
from sdaug.verdict.results import Result, Study
from sdaug.verdict.runs import Run, TestSet
from sdaug.verdict.statistics import Interval

PLAIN: dict[str, Any] = {"flip_horizontal": True}


def arm(**images: Any) -> dict[str, Any]:
    return {"images": {"synthetic": 0.0, "oracle": 0.0} | images, "training": PLAIN}


def test_ratio_of_exact_denominator_has_the_margin_of_its_numerator() -> None:
    """0.02 ± 0.01 over 0.04 exactly."""
    low, high = fieller(0.02, 0.04, np.array([[0.01**2, 0.0], [0.0, 0.0]]))
    assert (low, high) == pytest.approx((0.25, 0.75))


def test_fieller_by_hand() -> None:
    """(1 - 2r)² <= 0.19 + 0.96 r²: 3.04 r² - 4 r + 0.81 <= 0."""
    found = fieller(1.0, 2.0, np.array([[0.19, 0.0], [0.0, 0.96]]))
    root = math.sqrt(16 - 4 * 3.04 * 0.81)
    assert found == pytest.approx(((4 - root) / 6.08, (4 + root) / 6.08))


def test_denominator_that_may_be_zero_gives_no_end() -> None:
    assert fieller(0.02, 0.04, np.diag([0.01**2, 0.05**2])) == (-math.inf, math.inf)


def test_fieller_covers_the_true_ratio_of_correlated_means() -> None:
    """4,000 seeded pairs of means: 95 % is known to within 0.7 points."""
    stream, truth = np.random.default_rng(0), np.array([0.03, 0.06])
    covariance = np.array([[0.010**2, 0.5 * 0.010 * 0.015], [0.5 * 0.010 * 0.015, 0.015**2]])
    found = [fieller(a, b, 1.96**2 * covariance) for a, b in stream.multivariate_normal(truth, covariance, 4000)]
    assert np.mean([low <= 0.5 <= high for low, high in found]) == pytest.approx(0.95, abs=0.012)


ARMS = {"original": arm(synthetic=0.0), "augmented": arm(synthetic=1.0), "oracle": arm(oracle=1.0)}


def run_of(model: str, name: str, seed: int, right: int, test: TestSet) -> Run:
    """A run that has the first so many quarters of each class right."""
    predicted = test.labels.copy()
    for k in range(len(CLASSES)):
        members = np.flatnonzero(test.labels == k)
        predicted[members[len(members) * right // 4 :]] = (k + 1) % len(CLASSES)
    return Run(
        model=model,
        dataset=name,
        seed=seed,
        fold=0,
        num_folds=2,
        draw=seed if name.startswith("augmented") else None,
        num_train=1,
        num_validation=0,
        num_views={},
        num_real_views={},
        best_epoch=1,
        scores={},
        epochs=np.array([1]),
        validation_curve=np.array([0.5]),
        test=test,
        prior=np.full(len(CLASSES), 1 / len(CLASSES)),
        probabilities=np.eye(len(CLASSES))[predicted],
        predicted=predicted,
        predicted_at_prior=predicted,
    )


def exchange_of(rights: dict[str, int], arms: dict[str, Any]) -> Exchange | None:
    """Of a study whose arms have so many quarters of each class right, in every run."""
    test = TestSet(
        ids=tuple(map(str, range(len(LABELS)))), groups=tuple(str(n // 2) for n in range(len(LABELS))), labels=LABELS
    )
    results = {
        (model, name): Result(
            model=model,
            dataset=name,
            runs=tuple(run_of(model, name, seed, right, test) for seed in range(3)),
            scores={},
            estimates={},
            recall={},
            recall_intervals={},
            confusion=np.zeros((3, 3), dtype=np.int64),
        )
        for model in MODELS
        for name, right in rights.items()
    }
    study = Study(
        classes=CLASSES,
        folds=(0,),
        seeds=dict.fromkeys(MODELS, (0, 1, 2)),
        datasets=tuple(rights),
        test=test,
        results=results,
        pooled=MODELS,
        remedy=None,
        contrasts=(),
    )
    return find_exchange(study, arms)


def told(rights: dict[str, int], arms: dict[str, Any]) -> Exchange:
    found = exchange_of(rights, arms)
    assert found is not None
    return found


def test_rate_is_the_ratio_of_gains_for_each_image() -> None:
    """Augmented gains a quarter with one dose, a half with two; the oracle a half with one."""
    rights = {"original": 1, "augmented": 2, "augmented_twice": 3, "oracle": 3}
    found = told(rights, ARMS | {"augmented_twice": arm(synthetic=2.0)})
    assert (found.arm, found.is_linear) == ("augmented", True) and found.rate == pytest.approx(0.5)
    assert found.further == {2.0: pytest.approx(0.5)}
    assert found.interval is not None and found.interval.low < 0.5 < found.interval.high
    assert "is worth 0.50 true photos (95 % interval" in found.sentence.replace("95%", "95 %")
    assert "as if gains grew in proportion to numbers" in found.sentence


def test_ladder_of_true_photos_is_interpolated() -> None:
    """A half more true photos gain a quarter, as much as one dose of generated images; the first ones gain most."""
    rights = {"original": 1, "augmented": 2, "oracle_half": 2, "oracle": 4}
    found = told(rights, ARMS | {"oracle_half": arm(oracle=0.5)})
    assert found.against == ("oracle_half", "oracle") and not found.is_linear
    assert found.rate == pytest.approx(0.5)
    assert found.interval is not None and found.interval.low <= 0.5 <= found.interval.high


def test_nothing_can_be_told_where_true_photos_gain_nothing() -> None:
    found = told({"original": 2, "augmented": 3, "oracle": 2}, ARMS)
    assert math.isnan(found.rate) and "cannot be told: more true photos (oracle) did not raise" in found.sentence


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (None, "no interval, with so few runs or draws"),
        (Interval(-math.inf, math.inf), "interval without end, as the gain of true photos is not clearly above zero"),
        (Interval(0.4, math.inf), "interval from 0.40 on, without an upper end"),
        (Interval(0.1, 0.6), "interval 0.10 to 0.60"),
    ],
)
def test_sentence_says_what_the_interval_is(interval: Interval | None, said: str) -> None:
    found = Exchange(arm="a", against=("o",), rate=0.3, interval=interval, further={}, is_linear=True)
    assert said in found.sentence and found.sentence.startswith("One generated image is worth 0.30 true photos (")


@pytest.mark.parametrize("other", [{"oracle": arm(oracle=1.0) | {"training": {"loss": "focal"}}}, {}])
def test_arms_that_differ_in_more_than_images_do_not_count(other: dict[str, Any]) -> None:
    arms = {name: ARMS[name] for name in ("original", "augmented")} | other
    assert exchange_of({"original": 1, "augmented": 2, "oracle": 3}, arms) is None


def test_report_says_it_in_text_and_on_the_page(own_study_dir: Path) -> None:
    for m, model in enumerate(MODELS):
        for seed in SEEDS:
            write_run(own_study_dir / "metrics", f"{model}-oracle", seed, predict(m, 2, seed), validation=0.5)
    path = own_study_dir / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["datasets"]["oracle"] = {"images": {"oracle": 1.0}, "training": {}}
    path.write_text(yaml.safe_dump(params))
    report(own_study_dir)
    for file in ("comparison.txt", "verdict.md", "index.html"):
        assert "ne generated image is worth" in (own_study_dir / "report" / file).read_text()
