"""SCTL-style training: rounds of pseudo labels, repeatable and resumed, and blind to the labels of test photos."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from arms import arm_training
from PIL import Image
from test_checkpoint import is_equal, run_stopped
from test_training import HELD_OUT, IMAGES, LABELS, SMALL, is_same

from sdaug.classify.models import CARD, load_model, save_model
from sdaug.common.checkpoint import Checkpoint
from sdaug.common.files import read_json
from sdaug.common.packed import EXAMPLES, read_pixels, write_packed
from sdaug.common.params import read_methods
from sdaug.common.sections import convert, read_section
from sdaug.datasets.unlabelled import order_by_pixels, write_unlabelled
from sdaug.train.examples import photos_alone
from sdaug.train.params import Recipe, SctlParams, read_sctl
from sdaug.train.probe import RECIPE, TRAINING
from sdaug.train.selection import Trained
from sdaug.train.training import train_classifier
from sdaug.train.transductive import Transduction, confident_labels

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
TEST = np.random.default_rng(1).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
# With a threshold of 0.3, below one in three classes, all test photos get a pseudo label.
SETTINGS = replace(read_section(ROOT / "params.yaml", "sctl", SctlParams), thresholds=[0.3, 0.34], starts=[0.25, 0.6])
WEIGHTS = ("separation_weight", "pseudo_label_weight", "discrepancy_weight")


def train(
    settings: SctlParams | None = SETTINGS, test: Any = TEST, *, checkpoint: Checkpoint | None = None, **knobs: Any
) -> Trained:
    method = {"method": "sctl" if settings else "plain"}
    return train_classifier(
        photos_alone(IMAGES, LABELS),
        HELD_OUT,
        ["a", "b", "c"],
        recipe=Recipe(**{**vars(RECIPE), **SMALL, **method, **knobs}),
        arm=arm_training(flip_horizontal=True),
        shared=replace(TRAINING, selection="loss", ema_decay=0.9),
        seed=0,
        device=CPU,
        title="small",
        checkpoint=checkpoint,
        transduction=settings and Transduction(settings=settings, images=test),
    )


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train()


def test_same_seed_gives_the_same_weights(trained: Trained) -> None:
    torch.manual_seed(99)
    assert is_same(trained, train())


def test_history_tells_each_loss_and_how_many_photos_are_confident(trained: Trained) -> None:
    names = ("train_separation", "train_pseudo_label_loss", "train_discrepancy", "train_pseudo_labels")
    first, *_, last = trained.history
    assert all(name in row for row in trained.history for name in names)
    assert (first["train_pseudo_labels"], first["train_pseudo_label_loss"], first["train_discrepancy"]) == (0, 0, 0)
    assert 0 < last["train_pseudo_labels"] <= len(TEST)
    assert last["train_pseudo_label_loss"] > 0 and last["train_discrepancy"] > 0


def test_weights_of_0_are_plain_training_bit_for_bit() -> None:
    nothing = train(replace(SETTINGS, **dict.fromkeys(WEIGHTS, 0.0)))
    assert is_same(nothing, train(None))


@pytest.mark.parametrize("weight", WEIGHTS)
def test_each_loss_alone_moves_the_weights(weight: str) -> None:
    alone = train(replace(SETTINGS, **{**dict.fromkeys(WEIGHTS, 0.0), weight: 1.0}))
    assert not is_same(alone, train(None))


def test_other_test_photos_give_other_weights(trained: Trained) -> None:
    assert not is_same(trained, train(test=255 - TEST))


def test_no_confident_photo_leaves_separation_alone(capfd: pytest.CaptureFixture[str]) -> None:
    strict = train(replace(SETTINGS, thresholds=[0.998, 0.999]))
    assert is_same(strict, train(replace(SETTINGS, pseudo_label_weight=0.0, discrepancy_weight=0.0)))
    assert (
        "0 of 7 test photos are predicted with more than 0.998 (a 0, b 0, c 0); none of a, b, c"
        in capfd.readouterr().err
    )


@pytest.mark.parametrize("architecture", ["resnet18", "vit_tiny_patch16_224"])
def test_any_backbone_of_timm_learns(architecture: str) -> None:
    options = {"img_size": 16, "patch_size": 8, "depth": 1} if architecture.startswith("vit") else {}
    size = {"image_size": 16 if options else 32}
    found = train(architecture=architecture, options=options, epochs=2, **size)
    assert found.history[-1]["train_pseudo_labels"] > 0


@pytest.mark.parametrize("num_saves", [1, 5, 9])
def test_training_goes_on_within_a_round(tmp_path: Path, num_saves: int, trained: Trained) -> None:
    found = run_stopped(lambda checkpoint: train(checkpoint=checkpoint), tmp_path / "run.pt", num_saves)
    assert is_equal(vars(found) | {"weights": dict(found.weights)}, vars(trained) | {"weights": dict(trained.weights)})


def test_pseudo_labels_are_above_the_threshold() -> None:
    predicted = np.array([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]])
    assert confident_labels(predicted, 0.5).tolist() == [0, -1, 1]


def test_empty_test_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"method: sctl \(small\); the test set is empty, and sctl learns from its"):
        train(test=TEST[:0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": [0.5, 1.0]}, r"sctl\.thresholds\[1\]: 1\.0; need 0 or more and less than 1"),
        ({"thresholds": [-0.1, 0.5]}, r"sctl\.thresholds\[0\]: -0\.1; need 0 or more and less than 1"),
        ({"thresholds": [0.5]}, r"sctl\.starts: \[0\.25, 0\.6\]; need 1, one for each threshold"),
        ({"starts": [0.6, 0.25]}, r"sctl\.starts: \[0\.6, 0\.25\]; each round needs to begin after the one before"),
        ({"separation_weight": -1.0}, r"sctl\.separation_weight: -1\.0; need 0 to 100"),
        ({"kernel_widths": []}, r"sctl\.kernel_widths: \[\]; need at least 1"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert(vars(SETTINGS) | change, SctlParams, "sctl")


def pack_test_photos(folder: Path, labels: list[str]) -> None:
    """Test photos packed as the stage `holdout` does it: sorted by class."""
    rows = []
    for number, label in sorted(enumerate(labels), key=lambda pair: (pair[1], pair[0])):
        Image.fromarray(TEST[number]).save(folder / f"{number}.png")
        rows.append({"id": f"{number}", "group": "g", "label": label, "origin": "real", "part": "test", "draw": ""})
    write_packed(folder, [folder / f"{row['id']}.png" for row in rows], rows)


def test_shuffled_labels_of_the_test_set_give_the_same_bytes_and_weights(tmp_path: Path) -> None:
    found = []
    for name, labels in {"true": "aabbccc", "shuffled": "cbacabc"}.items():
        (tmp_path / name).mkdir()
        pack_test_photos(tmp_path / name, list(labels))
        (tmp_path / name / "out").mkdir()
        write_unlabelled(tmp_path / name / "out", read_pixels(tmp_path / name / "images.npy"), {"x": "sctl"})
        found.append(tmp_path / name / "out" / "x" / "images.npy")
    assert (tmp_path / "true" / EXAMPLES).read_bytes() != (tmp_path / "shuffled" / EXAMPLES).read_bytes()
    assert (tmp_path / "true" / "images.npy").read_bytes() != (tmp_path / "shuffled" / "images.npy").read_bytes()
    assert found[0].read_bytes() == found[1].read_bytes()
    assert [path.name for path in found[0].parent.iterdir()] == ["images.npy"]
    weights = [train(test=read_pixels(path)) for path in found]
    assert is_same(*weights) and not is_same(weights[0], train(test=255 - TEST))


def test_order_of_photos_is_that_of_their_pixels() -> None:
    assert np.array_equal(order_by_pixels(TEST), order_by_pixels(TEST[::-1]))


def test_plain_classifiers_get_no_photo(tmp_path: Path) -> None:
    write_unlabelled(tmp_path, TEST, {"x": "plain"})
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["none.txt"]


def test_only_pixels_of_the_test_set_go_to_training() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    readers = {
        name: [dep for dep in stage.get("deps", []) if dep.startswith("data/packed/test")]
        for name, stage in stages.items()
    }
    assert {name: deps for name, deps in readers.items() if deps} == {
        "unlabelled": ["data/packed/test/images.npy"],
        "evaluate": ["data/packed/test"],
    }  # fmt: skip
    assert [dep for dep in stages["train"]["deps"] if dep.startswith("data/")] == [
        "data/packed/${item.dataset}",
        "data/unlabelled/${item.model}",
    ]
    assert "data/prepared" not in stages["unlabelled"]["deps"]


def test_card_tells_the_method_of_a_transductive_classifier_alone(tmp_path: Path, trained: Trained) -> None:
    for name, found in {"sctl": trained, "plain": train(None)}.items():
        (tmp_path / name).mkdir()
        save_model(tmp_path / name, found.weights, found.card)
        assert load_model(tmp_path / name, CPU)[1].method == name
    assert read_json(tmp_path / "sctl" / CARD)["method"] == "sctl"
    assert "method" not in read_json(tmp_path / "plain" / CARD)


def test_preset_has_each_backbone_with_and_without_sctl() -> None:
    preset = ROOT / "presets" / "sctl.yaml"
    methods = read_methods(preset)
    transductive = [model for model, method in methods.items() if method == "sctl"]
    entries = read_section(preset, "classifiers", dict[str, dict[str, Any]])
    assert transductive and all(read_sctl(preset, model) for model in transductive)
    for model in transductive:
        alike = {key: value for key, value in entries[model].items() if key not in ("method", "sctl")}
        assert entries[model.removesuffix("_sctl")] == alike
