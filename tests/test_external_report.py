"""Images from elsewhere in what measures and reports: likeness, limits, and the page with their settings."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from studies import EXTERNAL, report, write_image, write_letter
from test_measures import images as generated
from test_measures import of_class, yardsticks  # noqa: F401 - a fixture

from sdaug.common.external_images import ExternalImage, write_external
from sdaug.fidelity.measures import Yardsticks, measure_class
from sdaug.filter.opinions import opinion_rows, summarize
from sdaug.verdict import inputs
from sdaug.verdict.dose import find_doses
from sdaug.verdict.external_summary import External, ExternalSource, ExternalUse, limits_of_external


def image(number: int, label: str = "light", **settings: str) -> ExternalImage:
    return ExternalImage(
        id=f"external-flux-{number:012x}", label=label, source="flux", original=f"{label}/{number}.png", **settings
    )


def letter(seen: Any, **num_used: int) -> External:
    source = ExternalSource(
        seen=seen, num_images={"score_2": 3, "score_3": 9}, num_duplicates=0, num_with_settings=9, models=["dev"]
    )
    return External(sources={"flux": source}, used={arm: use(count) for arm, count in num_used.items()})


def use(count: int) -> ExternalUse:
    return ExternalUse(source="flux", num_images={"score_2": 0, "score_3": count})


def test_they_are_measured_without_images_of_the_base(yardsticks: Yardsticks) -> None:  # noqa: F811
    number = 32
    found, pairs = measure_class(yardsticks, [image(n) for n in range(number)], None, of_class(1, number, 40))
    ours, _ = measure_class(yardsticks, generated(number, [0] * number), of_class(1, 8, 20), of_class(1, number, 40))
    assert found["judge"]["share"]["after"] == ours["judge"]["share"]["after"] is not None
    assert found["distances"]["after"] == ours["distances"]["after"]
    assert found["judge"]["share"]["before"] is None and found["judge"]["share_of_draw"] == {}
    assert found["distances"]["before"]["num_images"] == 0
    assert {pair["draw"] for pair in pairs} == {"flux"}


def test_the_filter_has_an_opinion_of_them() -> None:
    rows = opinion_rows([image(1), image(2)], np.array([[0.2, 0.8], [0.6, 0.4]]), ["dark", "light"])
    assert [(row["variant"], row["draw"], row["probability"]) for row in rows] == [("flux", "", 0.8), ("flux", "", 0.4)]
    assert summarize(rows)["num_of_draw"] == {"": 2}


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ("none", r"declared that the tool has seen no photo of this study"),
        ("training", r"declared that the tool has seen training photos alone"),
        ("unknown", r"Whether the tool has seen photos of this study is not known\. If it has seen test photos"),
    ],
)
def test_limits_say_where_images_come_from_and_what_their_tool_has_seen(seen: str, said: str) -> None:
    first, unused = limits_of_external(letter(seen, flux=9, half=4))
    assert first.startswith("Images of arms flux and half come from outside (flux, 12 images, by dev as they say")
    assert "the luck of drawing them is not in the intervals" in first
    assert re.search(said, first)
    assert unused.startswith("Images of score_2 from flux are not used")


def test_images_that_no_arm_uses_limit_nothing() -> None:
    assert limits_of_external(letter("unknown")) == limits_of_external(EXTERNAL) == []


def test_an_arm_with_images_from_elsewhere_is_one_times_what_is_missing() -> None:
    images = {"external": "flux", "per_class": 0}
    arms = {
        name: {"images": images | {"synthetic": dose}, "training": {}}
        for name, dose in {"half": 0.5, "plain": 0.0, "double": 2.0}.items()
    }
    assert find_doses(arms) == {0.5: "half", 1.0: "plain", 2.0: "double"}


def test_the_report_shows_them_with_their_settings_and_limits(own_study_dir: Path) -> None:
    drawn = [image(n, "score_3", prompt="a <leaf>", seed=str(70 + n), model="dev") for n in range(9)]
    for n, one in enumerate(drawn):
        write_image(own_study_dir / "imported" / one.file_name, 7, n)
    write_external(own_study_dir / "imported", drawn)
    write_letter(own_study_dir / "metrics", letter("unknown", augmented=9))
    params = yaml.safe_load((own_study_dir / "params.yaml").read_text())
    params["datasets"]["augmented"]["images"] = {"external": "flux"}
    (own_study_dir / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    report(own_study_dir)
    page = (own_study_dir / "report" / "index.html").read_text()
    assert "from elsewhere: flux, 9 in all" in page and "a &lt;leaf&gt;; seed 7" in page
    assert "Images of arm augmented come from outside" in page
    assert "Images of arm augmented come from outside" in (own_study_dir / "report" / "verdict.md").read_text()


def test_a_report_without_them_says_nothing_of_them(study_dir: Path) -> None:
    assert "elsewhere" not in (study_dir / "report" / "index.html").read_text().replace("external", "")


def test_an_arm_with_them_is_no_simple_remedy(own_study_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own_study_dir / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["datasets"] = {name: {"images": {}, "training": {}} for name in ("original", "balanced", "flux")}
    params["datasets"]["flux"]["images"] = {"external": "flux"}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    given: dict[str, Any] = {}
    monkeypatch.setattr(inputs, "read_study", lambda *_, **values: given.update(values))
    inputs.read_results(path, own_study_dir / "metrics", params["classes"])
    assert given["remedies"] == ["original", "balanced"]
