"""Planning: components come back from studies that have them, and plans agree with the verdict and with simulations."""

import math
from pathlib import Path

import numpy as np
import pytest
from plan import NUM_PHOTOS, Known, draw_study, measure_power

from sdaug.common.files import read_csv
from sdaug.run.cli import main
from sdaug.verdict.components import Components, assume, measure_pilot, override, resize, upper_factor
from sdaug.verdict.plan import Design, Price, find_cheapest, foresee, list_designs, plan_designs
from sdaug.verdict.statistics import estimate_runs

METRIC = "test_balanced_accuracy"
THREE = Design(num_draws=3, num_seeds=3)
ASSUMED = ["plan", "--photo-sd", "30", "--photo-run-sd", "40", "--run-sd", "2", "--test-photos", "110,110,80,80"]


def test_components_come_back_from_studies_that_have_them() -> None:
    stream, known = np.random.default_rng(0), Known(draw=0.02)
    design = Design(num_draws=5, num_seeds=10)
    pilots = [measure_pilot(*draw_study(known, design, stream)).expected for _ in range(40)]

    def mean_of(name: str) -> float:
        return float(np.sqrt(np.mean([np.square(getattr(pilot, name)).mean() for pilot in pilots])))

    assert mean_of("photo_deviations") == pytest.approx(known.photo, rel=0.03)
    assert mean_of("photo_run_deviation") == pytest.approx(known.photo_run, rel=0.03)
    assert math.sqrt(np.mean([pilot.run for pilot in pilots])) == pytest.approx(known.run, rel=0.15)
    drawn = [pilot.draw for pilot in pilots if pilot.draw is not None]
    assert math.sqrt(np.mean(drawn)) == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize("draw", [0.1, None], ids=["draws", "runs"])
def test_plan_of_the_pilots_own_size_is_what_the_verdict_says(draw: float | None) -> None:
    """Draws that differ much more than runs leave no variance to be cut off at zero."""
    known = Known(draw=draw, run=0.03, num_models=2)
    design = Design(num_draws=5 if draw else None, num_seeds=5)
    study = draw_study(known, design, np.random.default_rng(1))
    said = estimate_runs(*study)[METRIC]
    found = foresee(measure_pilot(*study).expected, design)
    assert found.standard_error == pytest.approx(said.standard_error, rel=0.01)
    assert found.detectable == pytest.approx(said.detectable, rel=0.01)


def test_studies_detect_the_predicted_effect_four_times_out_of_five() -> None:
    """200 seeded studies, known to within 5.7 points; `benchmarks/plan.py` simulates 2,000 of more designs."""
    assert 0.73 <= measure_power(Known(), Design(num_draws=5, num_seeds=5), 200)["power"] <= 0.87


def known_components(draw: float | None = 0.01) -> Components:
    return Known(draw=draw).assumed().expected


def test_photos_draws_seeds_and_folds_each_help() -> None:
    found = foresee(known_components(), THREE).detectable
    for design in (
        Design(multiple=2, num_draws=3, num_seeds=3),
        Design(num_draws=3, num_seeds=6),
        Design(num_draws=6, num_seeds=6),
        Design(num_draws=3, num_seeds=3, num_folds=2),
    ):
        assert foresee(known_components(), design).detectable < found


def test_variance_of_a_planned_study_by_hand() -> None:
    """One model, two classes: photos 0.25 * 0.2² * (1/50 + 1/20), runs and draws over 4 draws of 2 runs each."""
    pilot = assume((50, 20), num_models=1, photo=0.2, photo_run=0.4, run=0.03, draw=0.05)
    found = foresee(pilot.expected, Design(num_draws=4, num_seeds=8))
    photos = (0.2**2 + 0.4**2 / 8) * (1 / 50 + 1 / 20) / 4
    assert found.standard_error**2 == pytest.approx(photos + 0.03**2 / 8 + 0.05**2 / 4)


def test_more_test_photos_of_a_class_are_worth_a_share_of_its_variance() -> None:
    pilot = measure_pilot(*draw_study(Known(), THREE, np.random.default_rng(0)))
    larger = resize(pilot, [NUM_PHOTOS[0] * 4, *NUM_PHOTOS[1:]]).expected
    assert larger.photos[0, 0] == pytest.approx(pilot.expected.photos[0, 0] / 4)
    assert larger.photos[1, 1] == pytest.approx(pilot.expected.photos[1, 1])
    assert larger.photo_deviations == pytest.approx(pilot.expected.photo_deviations)


def test_luck_that_few_runs_and_draws_cannot_tell_is_nan_until_it_is_given() -> None:
    pilot = measure_pilot(*draw_study(Known(), Design(num_draws=2, num_seeds=2), np.random.default_rng(0)))
    assert pilot.expected.draw is not None
    assert math.isnan(pilot.expected.run) and math.isnan(pilot.expected.draw)
    given = override(pilot, run=0.02, draw=0.01)
    assert (given.expected.run, given.pessimistic.draw) == pytest.approx((0.02**2, 0.01**2))


def test_upper_limit_of_a_variance_holds_four_times_out_of_five() -> None:
    drawn = np.random.default_rng(0).normal(size=(4000, 5)).var(axis=1, ddof=1)
    assert np.mean(drawn * upper_factor(4) > 1) == pytest.approx(0.8, abs=0.02)


def test_every_draw_has_a_training_run() -> None:
    found = list_designs(multiples=[1], draws=[3, 5], seeds=[3, 5], folds=[1])
    assert [(design.num_draws, design.num_seeds) for design in found] == [(3, 3), (3, 5), (5, 5)]


def test_cheapest_design_is_that_of_the_fewest_hours() -> None:
    designs = list_designs(multiples=[1, 4], draws=[3, 5], seeds=[5, 10], folds=[1])
    price = Price(per_draw=10.0, per_run=0.1, per_photo=0.1)
    planned = plan_designs(Known().assumed(), designs, price)
    best = find_cheapest(planned, 0.06)
    assert best is not None and best.design == Design(multiple=1, num_draws=3, num_seeds=10)
    assert best.hours == pytest.approx(3 * 10 + 2 * 3 * 10 * 0.1)
    assert find_cheapest(planned, 0.001) is None


def test_plan_from_assumptions_marks_a_design_and_writes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main([*ASSUMED, "--draw-sd", "1", "--models", "3", "--out", "plan.csv", "--plot", "plan.png"])
    printed = capsys.readouterr().out
    assert "give --hours-per-run and --hours-per-draw" in printed and "hours  " not in printed
    rows = read_csv(Path("plan.csv"))
    assert sum(row["mark"].startswith("cheapest") for row in rows) == 1
    assert rows[0]["test_class_1"] == "110" and float(rows[0]["detectable"]) == pytest.approx(0.069, abs=0.001)
    assert Path("plan.png").read_bytes().startswith(b"\x89PNG")


def test_costs_are_a_column_where_they_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    main([*ASSUMED, "--hours-per-run", "0.5"])  # an arm without generators
    printed = capsys.readouterr().out
    assert "pessimistic  hours" in printed and "Costs are not known" not in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], r"2 draws of the generators, need 3 to tell how they differ; give --draw-sd"),
        (["--draw-sd", "1"], r"2 training runs per model, need 3 to tell how they differ; give --run-sd"),
        (["--arm", "nowhere"], r"--arm: nowhere: no such arm; choose from original, augmented"),
        (["--against", "augmented"], r"--against: augmented: that is the arm itself; choose from original, augmented"),
        (["--photo-sd", "30"], r"--run-sd: missing; a plan from assumptions needs --photo-sd, --run-sd"),
        (["--draw-sd", "1", "--run-sd", "1", "--test-photos", "9,9"], r"--test-photos: 2 numbers, need one for each"),
        (["--models", "2"], r"--models.*the pilot tells them"),
    ],
)
def test_what_a_pilot_does_not_tell_is_asked_for(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(study_dir)
    with pytest.raises(SystemExit, match=said):
        main(["plan", *words])


def test_pilot_of_few_runs_can_plan_with_what_is_given(
    study_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study_dir)
    main(["plan", "--draw-sd", "1", "--run-sd", "2", "--test-photos", "80,120,40", "--photos", "1"])
    printed = capsys.readouterr().out
    assert "What augmented - prior_corrected varies by, over 2 models (resnet18, tiny)" in printed
    assert "\n        240      3      3      1    12" in printed


def test_folder_without_a_study_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SystemExit, match=r"no finished study here \(params.yaml.*run `dvc repro`, or give assumptions: --p"
    ):
        main(["plan"])


@pytest.mark.parametrize("words", [["--draws", "2"], ["--photos", "0"], ["--run-sd", "-1"], ["--test-photos", "9"]])
def test_options_that_fit_no_study_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", *words])
    assert f"{words[0]}: {words[1]}: need" in capsys.readouterr().err
