"""Settings of SCTL-style training: what is refused, in one line with a way out, and what an entry changes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sdaug.check.study import check_study
from sdaug.common.params import read_methods
from sdaug.common.sections import read_params
from sdaug.train.params import read_sctl

PARAMS = Path(__file__).parents[1] / "params.yaml"


def changed(changes: dict[str, Any], *, method: str = "sctl") -> dict[str, Any]:
    """The default study with another method of resnet18, and values by dotted key."""
    values = read_params(PARAMS)
    values["classifiers"]["resnet18"]["method"] = method
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = values
        for parent in parents:
            section = section[parent]
        section[last] = value
    return values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sctl.thresholds": [0.5, 1.5, 0.9]}, r"sctl\.thresholds\[1\]: 1\.5; need 0 or more and less than 1: "),
        ({"sctl.thresholds": [-0.1, 0.8, 0.9]}, r"sctl\.thresholds\[0\]: -0\.1; need 0 or more and less than 1: "),
        ({"sctl.thresholds": []}, r"sctl\.thresholds: \[\]; need at least 1: "),
        ({"sctl.starts": [0.1, 0.2]}, r"sctl\.starts: \[0\.1, 0\.2\]; need 3, one for each threshold"),
        ({"sctl.starts": [0.1, 0.1, 0.2]}, r"sctl\.starts: .*each round needs to begin after the one before it"),
        ({"sctl.starts": [0.1, 0.2, 1.0]}, r"sctl\.starts\[2\]: 1\.0; need 0 or more and less than 1: "),
        ({"sctl.kernel_widths": [0.0]}, r"sctl\.kernel_widths\[0\]: 0\.0; need more than 0, at most 1000: "),
        ({"sctl.discrepancy_weight": -1}, r"sctl\.discrepancy_weight: -1; need 0 to 100: "),
        ({"classifiers.resnet18.sctl": {"colour": 1}}, r"classifiers\.resnet18\.sctl\.colour: unknown key"),
        ({"classifiers.resnet18.sctl": {"thresholds": [2]}}, r"classifiers\.resnet18\.sctl\.thresholds\[0\]: 2; need"),
        ({"classifiers.vit.sctl": {}}, r"classifiers\.vit\.sctl: \{\}; idle, since the method is plain; set method"),
        ({"classifiers.vit.method": "magic"}, r"classifiers\.vit\.method: 'magic' is not allowed; choose from plain, "),
        (
            {"classifiers.vit.by_dataset": {"original": {"method": "sctl"}}},
            r"classifiers\.vit\.by_dataset\.original\.method: 'sctl'; a classifier has one method on all data sets",
        ),
        ({"recipe.method": "sctl"}, r"classifiers: \['resnet18', .*verdict rests on classifiers that do not see test"),
        ({"train.compile": True}, r"train\.compile: True; the features of resnet18 are read by a hook"),
        (
            {"datasets.augmented.training": {"mixup_alpha": 0.2}},
            r"datasets: \['augmented'\]; a mixed image is of no one class, and sctl \(resnet18\) needs classes",
        ),
        (
            {"classifiers.resnet18.pretrained": True, "classifiers.resnet18.freeze_backbone": True},
            r"classifiers\.resnet18\.freeze_backbone: True; sctl moves features, which are frozen",
        ),
    ],
)
def test_broken_rule_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^params\.yaml: {message}") as caught:
        check_study(changed(changes), Path("params.yaml"))
    assert "\n" not in str(caught.value)


def test_one_classifier_may_be_transductive_under_any_split() -> None:
    check_study(changed({}), PARAMS)
    check_study(changed({"split.protocol": "published"}), PARAMS)
    check_study(changed({"cross_validate.folds": [1, 2, 3]}), PARAMS)


def test_an_entry_names_what_differs_from_the_section(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed({"classifiers.resnet18.sctl": {"separation_weight": 0.25}})))
    found, methods = read_sctl(path, "resnet18"), read_methods(path)
    assert found is not None and found.separation_weight == 0.25 and found.thresholds == [0.5, 0.8, 0.9]
    assert methods["resnet18"] == "sctl" and methods["custom"] == "plain" and read_sctl(path, "custom") is None
