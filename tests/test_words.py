"""Class names that a mirror would swap."""

import pytest

from sdaug.run.words import find_mirrored


@pytest.mark.parametrize(
    "names",
    [
        ("turn Left", "turn right"),
        ("leftturn", "rightturn"),
        ("LeftTurn", "RightTurn"),
        ("turnleft", "turnright"),
        ("2_turnleft_sign", "2_turnright_sign"),
        ("Linkskurve", "Rechtskurve"),
        ("OD", "OS"),
        ("eye_od", "eye_os"),
        ("arm L", "arm R"),
    ],
)
def test_names_that_differ_in_left_and_right_are_a_pair(names: tuple[str, str]) -> None:
    assert find_mirrored([*names, "other"]) == [names]


@pytest.mark.parametrize(
    "names",
    [
        ("leftover", "ripe"),
        ("leftturn", "rightcurve"),
        ("turnleft", "rightturn"),
        ("lamp", "ramp"),
        ("calm", "carm"),
        ("odd", "oss"),
        ("pod", "pos"),
        ("left turn", "left curve"),
        ("aleftb", "arightb"),
    ],
)
def test_other_names_are_none(names: tuple[str, str]) -> None:
    assert find_mirrored(names) == []
