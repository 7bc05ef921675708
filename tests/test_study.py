"""Validation of params.yaml: the committed file and the presets pass, rules that span sections are enforced."""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from sdaug.check.graph_match import require_stages
from sdaug.check.study import check_study
from sdaug.common.params import read_arm, read_arms
from sdaug.common.sections import read_params
from sdaug.train.params import ArmTraining

ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "params.yaml"
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


@pytest.fixture
def values() -> dict[str, Any]:
    return read_params(PARAMS)


@pytest.mark.parametrize("path", [PARAMS, *PRESETS], ids=lambda path: path.stem)
def test_committed_file_passes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    check_study(read_params(path), path)


@pytest.mark.parametrize("path", [PARAMS, *PRESETS], ids=lambda path: path.stem)
def test_keys_that_stages_depend_on_stand_in_every_file(path: Path) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    keys = {key for stage in stages for key in stage.get("params", []) if isinstance(key, str) and "${" not in key}
    sections = read_params(path)
    # DVC would stop at a missing key, after hours if the stage is a late one.
    dotted = [key.split(".") for key in keys if "." in key]
    assert [key for key in dotted if key[1] not in sections[key[0]]] == [] and len(dotted) > 3


def test_no_preset_is_a_copy_of_the_default() -> None:
    assert not [path for path in PRESETS if read_params(path) == read_params(PARAMS)]


def test_arms_and_the_default_share_their_generators() -> None:
    default, arms = read_params(PARAMS), read_params(ROOT / "presets" / "arms.yaml")
    shared = [section for section in default if section not in ("synthesize", "datasets", "classifiers")]
    assert [section for section in shared if arms[section] != default[section]] == []
    own = ("multiple_of_missing", "min_images", "variants")
    drawn = [{key: value for key, value in p["synthesize"].items() if key not in own} for p in (default, arms)]
    assert drawn[0] == drawn[1]
    assert arms["classifiers"].items() <= default["classifiers"].items()


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_an_experiment_changes_no_line_but_its_own(path: Path, tmp_path: Path) -> None:
    own = tmp_path / "params.yaml"
    shutil.copy(path, own)
    apply_overrides(own, ["split.fold=1"])
    before, after = (file.read_text().splitlines() for file in (path, own))
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert changed == [(line, line.replace("0", "1")) for line in before if line.startswith("  fold: 0")]


def test_keys_of_a_base_that_was_trained_from_scratch_are_refused_with_what_to_write_instead(
    values: dict[str, Any],
) -> None:
    values["base"] |= {"model": "tiny", "unet_batch_size": 32, "vae_channels": [16, 32], "ema_decay": 0.995}
    with pytest.raises(ValueError) as error:
        check_study(values, PARAMS)
    assert str(error.value) == (
        f"{PARAMS}: base: a base is no longer trained here from scratch, got vae_channels, unet_batch_size, ema_decay; "
        "rename unet_batch_size to adapt_batch_size and ema_decay to adapt_ema_decay, and delete the others; "
        "for model: tiny, write pretrained/small, and adapt_steps: 600 to have it learn the study's photos"
    )
    values["base"]["model"] = "some/base"
    with pytest.raises(ValueError, match=r"to adapt_ema_decay, and delete the others$"):
        check_study(values, PARAMS)


SHARED = {"synthetic_share": 0.5}


def rename_class(values: dict[str, Any]) -> None:
    values["classes"][0] = "score-1"


def put_oracle_of_another_size(values: dict[str, Any]) -> None:
    values["phantom"]["size_pixels"] = 48
    values["datasets"]["original"]["images"]["oracle"] = 1.0


def ask_for_validation_loss_without_a_fold(values: dict[str, Any]) -> None:
    values["dreambooth"]["validation_loss_steps"] = 5
    values["split"]["fold"] = "none"


def repeat_prompt(values: dict[str, Any]) -> None:
    first, second = list(values["concepts"])[:2]
    values["concepts"][first] = values["concepts"][second]


def put(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("concepts", "score_9", value={"instance_prompt": "a zwx"}), r"concepts\.score_9: .*not a class"),
        (
            put("classifiers", "custom", "by_dataset", value={"pruned": {"steps": 2}}),
            r"classifiers\.custom\.by_dataset\.pruned: .*not a data set; datasets are",
        ),
        (
            put("classifiers", "custom", "by_dataset", value={"augmented": {"epoch": 2}}),
            r"classifiers\.custom\.by_dataset\.augmented\.epoch: unknown key",
        ),
        (
            put("classifiers", "custom", "by_dataset", value={"augmented": {"steps": 0}}),
            r"classifiers\.custom\.by_dataset\.augmented\.steps: 0; need 1 or more",
        ),
        (put("split", "fold", value=99), r"split\.fold: 99; need less than prepare\.num_folds"),
        (put("split", "fold", value="some"), r"split\.fold: 'some'"),
        (
            put("datasets", "augmented", "images", "synthetic", value=2.0),
            r"datasets\.augmented\.images\.synthetic: 2\.0; need at most 1\.0: synthesize\.multiple_of_missing",
        ),
        (
            put("datasets", "original", "images", "oracle", value=1.0),
            r"datasets\.original\.images\.oracle: 1\.0; only the phantom has more true photos",
        ),
        (
            put("datasets", "original", "images", value={"per_class": 5}),
            r"datasets\.original\.images\.per_class: 5; need at most 0: synthesize\.min_images",
        ),
        (
            put("datasets", "original", "training", "synthetic_weight", value=0.5),
            r"datasets\.original\.training\.synthetic_weight: 0\.5; the arm has no synthetic images; set images\.",
        ),
        (
            put("datasets", "original", "training", "synthetic_share", value=0.5),
            r"datasets\.original\.training\.synthetic_share: 0\.5; the arm has no synthetic images",
        ),
        (
            put("datasets", "original", "training", "pretrain_steps", value=5),
            r"datasets\.original\.training\.pretrain_steps: 5; the arm has no synthetic images",
        ),
        (
            put("datasets", "augmented", value={"images": {"synthetic": 1.0, "real": False}, "training": SHARED}),
            r"datasets\.augmented\.training\.synthetic_share: 0\.5; the arm has no photos beside synthetic images",
        ),
        (
            put("datasets", "oversampled", "training", "synthetic_share", value=0.5),
            r"datasets\.oversampled\.training\.synthetic_share: 0\.5; the sampler is balanced",
        ),
        (
            put("datasets", "augmented", "training", "soften", value=0.5),
            r"datasets\.augmented\.training\.soften: 0\.5; the arm has no reconstructions .*set images\.reconstructed",
        ),
        (
            put("datasets", "augmented", "images", "reconstructed", value=True),
            r"datasets\.augmented\.images\.reconstructed: True; no training uses them; set training\.soften",
        ),
        (
            put("datasets", "original", "training", "class_weights", value=[1.0]),
            r"datasets\.original\.training\.class_weights: \[1\.0\]; need 4, one per class",
        ),
        (
            put("classifiers", "custom", "epochs", value=2),
            r"classifiers\.custom\.epochs: 2; need either epochs or steps, and steps is 280",
        ),
        (
            put("classifiers", "resnet18", "freeze_backbone", value=True),
            r"classifiers\.resnet18\.freeze_backbone: True; without pretrained weights",
        ),
        (
            put("datasets", "prior_corrected", value={"images": {}, "training": {}}),
            r"datasets\.prior_corrected: 'prior_corrected'; the report makes this arm .*give yours another name",
        ),
        (put_oracle_of_another_size, r"datasets\.original\.images\.oracle: 1\.0; oracle photos are not resized"),
        (
            put("synthesize", "drawing", "sampler", value="magic"),
            r"synthesize\.drawing\.sampler: 'magic' is not allowed",
        ),
        (
            put("synthesize", "drawing", "sampler", value="pndm"),
            r"synthesize\.drawing\.sampler: 'pndm'; the base's noise ends in pure noise.*use dpm_solver",
        ),
        (
            put("class_images", "drawing", "sampler", value="pndm"),
            r"class_images\.drawing\.sampler: 'pndm'; the base's noise ends in pure noise",
        ),
        (put("recipe", "momentum", value=2.0), r"recipe\.momentum: 2\.0; need 0 or more and less than 1"),
        (put("classifiers", "custom", "dropout", value=0.5), r"classifiers\.custom\.dropout: 0\.5; custom has none"),
        (put("classifiers", "custom", "colour", value=1), r"classifiers\.custom\.colour: unknown key"),
        (put("classifiers", "custom", value={"steps": 2}), r"classifiers\.custom\.architecture: missing"),
        (put("seeds", value=[1, 1]), r"seeds: \[1, 1\]; need at least one, without duplicates"),
        (put("seeds", value=[]), r"seeds: \[\]; need at least one"),
        (put("generator_seeds", value=[]), r"generator_seeds: \[\]; need at least one"),
        (put("seeds", value=[0, 1, 2, 3]), r"seeds: \[0, 1, 2, 3\]; need fewer than generator_seeds \(3\), or a mult"),
        (put("classifiers", "vit", "seeds", value=[3, 3]), r"classifiers.vit.seeds: \[3, 3\]; need at least one"),
        (put("classifiers", "vit", "seeds", value=3), r"classifiers.vit.seeds: 3 is a whole number, need a list"),
        (put("datasets", value={}), r"datasets: .*need at least one"),
        (put("colour", value=1), r"colour: unknown key"),
        (put("arm", "training", "colour", value=1), r"arm\.training\.colour: unknown key"),
        (put("arm", "images", "keep_share", value=0), r"arm\.images\.keep_share: 0; need more than 0, at most 1: "),
        (
            put("arm", "training", "soften", value=0.5),
            r"datasets\.original\.training\.soften: 0\.5; the arm has",
        ),
        (put("arm", value={}), r"arm\.images: missing; allowed keys: images, training"),
        (put("arm", value=3), r"arm: 3 is a whole number, need a section with images, training"),
        (put("datasets", "original", value=[]), r"datasets\.original: \[\] is a list, need a section with images, t"),
        (put("datasets", "original", "training", "colour", value=1), r"datasets\.original\.training\.colour: unknown"),
        (
            put("datasets", "original", "training", value=3),
            r"datasets\.original\.training: 3 is a whole number, need",
        ),
        (
            ask_for_validation_loss_without_a_fold,
            r"dreambooth\.validation_loss_steps: 5; needs photos that no generator sees: split\.protocol: clean",
        ),
        (rename_class, r"classes\.score-1: 'score-1'; need a name of a-z, 0-9 and _ only"),
        (repeat_prompt, r"concepts: .*need a different instance prompt"),
    ],
)
def test_broken_rule_is_refused(values: dict[str, Any], change: Callable[[dict[str, Any]], None], message: str) -> None:
    if "more true photos" in message:
        del values["phantom"]
    change(values)
    with pytest.raises(ValueError, match=message) as caught:
        check_study(values, Path("params.yaml"))
    assert str(caught.value).startswith("params.yaml") and "\n" not in str(caught.value)


def test_an_arm_is_what_all_arms_are_but_for_its_entry(values: dict[str, Any], tmp_path: Path) -> None:
    values["arm"]["training"] |= {"sampler": "plain", "mixup_alpha": 0.4}
    values["datasets"]["oversampled"]["training"] = {"sampler": "balanced", "flip_horizontal": False}
    trained = {name: arm.training for name, arm in check_study(values, Path("params.yaml")).datasets.items()}
    assert {training.mixup_alpha for training in trained.values()} == {0.4}
    assert (trained["original"].sampler, trained["oversampled"].sampler) == ("plain", "balanced")
    assert (trained["original"].flip_horizontal, trained["oversampled"].flip_horizontal) == (True, False)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    assert {name: read_arm(path, name, "training", ArmTraining) for name in trained} == trained
    assert {name: arm["training"] for name, arm in read_arms(path).items()} == {
        name: asdict(training) for name, training in trained.items()
    }


def test_arms_of_one_number_go_with_as_many_images(values: dict[str, Any]) -> None:
    values["datasets"]["original"]["images"] = {"per_class": 5}
    for drawn in ({"min_images": 5}, {"min_images": 0, "num_images": 5}):
        values["synthesize"] |= drawn
        assert check_study(values, Path("params.yaml")).datasets["original"].images.has_synthetic


def test_absent_folder_of_photos_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    values["prepare"]["raw"] = str(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"^params\.yaml: prepare\.raw: .*nowhere: no such folder"):
        check_study(values, Path("params.yaml"))


def test_folder_that_is_there_passes(values: dict[str, Any], tmp_path: Path) -> None:
    values["prepare"]["raw"] = str(tmp_path)
    assert check_study(values, Path("params.yaml")).prepare.raw == tmp_path


def test_missing_section_is_refused(values: dict[str, Any]) -> None:
    del values["split"]
    with pytest.raises(ValueError, match=r"split: missing"):
        check_study(values, Path("params.yaml"))


def test_stages_that_only_some_arms_use_are_named_with_the_setting_that_needs_them(values: dict[str, Any]) -> None:
    assert check_study(values, PARAMS).further_stages() == {}
    arms = Path(__file__).parents[1] / "presets" / "arms.yaml"
    further = check_study(read_params(arms), arms).further_stages()
    assert further["filter"].endswith(".images.keep_share: 0.5")
    assert further["reconstruct"].endswith(".images.reconstructed: true")


def test_an_arm_without_its_stage_is_refused(values: dict[str, Any]) -> None:
    graph = PARAMS.with_name("dvc.yaml")
    require_stages(check_study(values, PARAMS), PARAMS, graph)
    values["synthesize"]["multiple_of_missing"] = 2.0
    values["datasets"]["augmented"]["images"]["keep_share"] = 0.5
    message = r"augmented\.images\.keep_share: 0\.5; .* stage filter, which .* lacks; run `sdaug stages filter`"
    with pytest.raises(ValueError, match=message):
        require_stages(check_study(values, PARAMS), PARAMS, graph)


def test_concepts_that_the_graph_does_not_list_are_refused(values: dict[str, Any]) -> None:
    del values["concepts"]["score_3"]
    with pytest.raises(ValueError, match=r"concepts: score_1, score_4; .* has score_1, score_3, score_4; run"):
        require_stages(check_study(values, PARAMS), PARAMS, PARAMS.with_name("dvc.yaml"))
