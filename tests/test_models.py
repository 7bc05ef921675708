"""Classifiers: those of params.yaml can be built, and saving and loading preserves them."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from sdaug.classify.inference import predict
from sdaug.classify.models import build_model, check_model, create_network, load_model, save_model
from sdaug.common.sections import read_params, read_section
from sdaug.train.params import Recipe, RecipeParams, read_recipe, resolve_recipe
from sdaug.train.probe import RECIPE

CLASSES = ["score_1", "score_2", "score_3"]
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
CPU = torch.device("cpu")
ROOT = Path(__file__).parents[1]
PARAMS = ROOT / "params.yaml"


def recipe(**changes: object) -> Recipe:
    return Recipe(**{**vars(RECIPE), **changes})


@pytest.mark.parametrize("name", read_params(PARAMS)["classifiers"])
def test_classifier_of_params_has_an_output_for_each_class(name: str) -> None:
    chosen = read_recipe(PARAMS, name, "no data set of its own")
    if chosen.pretrained:
        pytest.skip("its weights come from the hub")
    with torch.device("meta"):
        model, card = build_model(chosen, CLASSES, prepared_pixels=32)
        size = card.image_size
        B, K = model.eval()(torch.empty(1, 3, size, size)).shape
    assert (B, K) == (1, len(CLASSES))


def test_knobs_of_a_data_set_replace_those_of_the_classifier() -> None:
    shared = read_section(PARAMS, "recipe", RecipeParams)
    entry = {"architecture": "custom", "steps": 9, "by_dataset": {"augmented": {"steps": 3}}}
    steps = {dataset: resolve_recipe(shared, entry, dataset, where="x").steps for dataset in ("augmented", "original")}
    assert steps == {"augmented": 3, "original": 9}


def test_timm_model_predicts_probabilities() -> None:
    model, card = build_model(recipe(architecture="resnet18", image_size=24), CLASSES, prepared_pixels=32)
    assert predict(model, IMAGES, card).sum(axis=1) == pytest.approx(np.ones(4))


def test_unknown_architecture_is_named() -> None:
    with pytest.raises(ValueError, match=r"architecture 'resnet1' .* cannot be built .*timm\.list_models") as caught:
        build_model(recipe(architecture="resnet1"), CLASSES, prepared_pixels=32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["hf-hub:someone/theirs", "local-dir:/tmp"])
def test_architecture_of_another_source_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=rf"architecture '{source}'.*need one of timm.list_models"):
        build_model(recipe(architecture=source, options={}), CLASSES, prepared_pixels=32)


def test_unknown_option_is_named() -> None:
    with pytest.raises(ValueError, match=r"architecture 'custom' with options \{'depth': 3\}.* cannot be built"):
        build_model(recipe(options={"depth": 3}), CLASSES, prepared_pixels=32)


def test_loaded_model_predicts_as_the_saved_one(tmp_path: Path) -> None:
    model, card = build_model(recipe(options={"width": 16}), CLASSES, prepared_pixels=32)
    save_model(tmp_path, model.state_dict(), card)
    loaded, loaded_card = load_model(tmp_path, CPU)
    assert np.array_equal(predict(loaded, IMAGES, loaded_card), predict(model, IMAGES, card))


def test_card_comes_back(tmp_path: Path) -> None:
    model, card = build_model(recipe(options={"width": 16}), CLASSES, prepared_pixels=32)
    save_model(tmp_path, model.state_dict(), card)
    assert load_model(tmp_path, CPU)[1] == card


def test_same_weights_are_saved_in_the_same_bytes(tmp_path: Path) -> None:
    model, card = build_model(recipe(options={"width": 16}), CLASSES, prepared_pixels=32)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_model(tmp_path / name, model.state_dict(), card)
    saved = [sorted((tmp_path / name).iterdir()) for name in ("a", "b")]
    assert [path.read_bytes() for path in saved[0]] == [path.read_bytes() for path in saved[1]]


def test_predicting_leaves_the_mode_as_it_was() -> None:
    model, card = build_model(recipe(options={"width": 16}), CLASSES, prepared_pixels=32)
    predict(model.train(), IMAGES, card)
    assert model.training


def test_dropout_and_stochastic_depth_reach_the_model() -> None:
    options = {"img_size": 32, "patch_size": 16, "depth": 2, "embed_dim": 24, "num_heads": 2}
    chosen = recipe(architecture="vit_tiny_patch16_224", options=options, dropout=0.3, drop_path=0.2)
    model, card = build_model(chosen, CLASSES, prepared_pixels=32)
    rates = {type(part).__name__: getattr(part, "p", getattr(part, "drop_prob", None)) for part in model.modules()}
    assert model.head_drop.p == 0.3
    assert rates["DropPath"] == pytest.approx(0.2)
    assert card.options == options


def test_stochastic_depth_of_a_model_without_it_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"architecture 'vgg11' with options \{'drop_path_rate': 0.2\}.*cannot be built"
    ):
        build_model(recipe(architecture="vgg11", drop_path=0.2), CLASSES, prepared_pixels=32)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    model, card = build_model(recipe(options={"width": 16}), CLASSES, prepared_pixels=32)
    save_model(tmp_path, model.state_dict(), replace(card, options={"width": 24}))
    with pytest.raises(ValueError, match=r"config.json and model.safetensors do not match .*size mismatch"):
        load_model(tmp_path, CPU)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config.json: no such file; give a folder written by stage train"):
        load_model(tmp_path, CPU)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    model, card = build_model(recipe(options={"width": 16}), CLASSES, prepared_pixels=32)
    save_model(tmp_path, model.state_dict(), card)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"do not match .*run `dvc repro train`"):
        load_model(tmp_path, CPU)


def test_damaged_card_is_named(tmp_path: Path) -> None:
    model, card = build_model(recipe(options={"width": 16}), CLASSES, prepared_pixels=32)
    save_model(tmp_path, model.state_dict(), card)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=rf"^{tmp_path}/config.json: not JSON .*`dvc repro` makes it anew"):
        load_model(tmp_path, CPU)


@pytest.mark.parametrize(
    ("architecture", "size", "reason"),
    [("vit_tiny_patch16_224", 48, "doesn't match model"), ("inception_v3", 48, "Kernel size"), ("vgg11", 16, "small")],
)
def test_image_size_that_the_model_cannot_take_is_refused(architecture: str, size: int, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"image_size: {size}; {architecture} with .*{reason}.*give another"):
        check_model(recipe(architecture=architecture, options={}, image_size=size), CLASSES)


def test_image_size_that_the_auxiliary_head_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image_size: 75; inception_v3 with options \{'aux_logits': True"):
        check_model(recipe(architecture="inception_v3", options={"aux_logits": True}, image_size=75), CLASSES)


def test_both_heads_of_pretrained_inception_are_new(tmp_path: Path) -> None:
    given = timm.create_model("inception_v3", aux_logits=True).state_dict()
    save_file(given, tmp_path / "model.safetensors")
    cfg = {"file": str(tmp_path / "model.safetensors"), "hf_hub_id": None, "num_classes": 1000}
    options = {"aux_logits": True, "pretrained_cfg_overlay": cfg}
    found = create_network("inception_v3", 3, options, pretrained=True).state_dict()
    changed = {name for name, weight in found.items() if weight.shape != given[name].shape}
    assert changed == {"fc.weight", "fc.bias", "AuxLogits.fc.weight", "AuxLogits.fc.bias"}
    assert all(torch.equal(weight, given[name]) for name, weight in found.items() if name not in changed)


def test_docs_show_how_timm_alone_uses_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / "classifiers" / "resnet18-original" / "0"
    folder.mkdir(parents=True)
    model, card = build_model(recipe(architecture="resnet18", options={}, image_size=32), CLASSES, prepared_pixels=32)
    save_model(folder, model.state_dict(), card)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("teat.jpg", format="PNG")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "classifiers.md").read_text(), re.DOTALL)
    (snippet,) = (block for block in blocks if "timm.create_model" in block)
    exec(snippet, {})
    wanted = predict(load_model(folder, CPU)[0], pixels[None], card)[0]
    assert ast.literal_eval(capsys.readouterr().out) == pytest.approx(dict(zip(CLASSES, wanted, strict=True)), abs=1e-4)
