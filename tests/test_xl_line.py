"""SDXL from end to end at a tiny size: base, class images, DreamBooth, synthesis, and the same images drawn again."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import StableDiffusionXLPipeline
from small import build_small_xl

from sdaug.common.files import write_json
from sdaug.common.images import read_png, save_png
from sdaug.common.manifest import Photo, write_manifest
from sdaug.common.sections import read_params
from sdaug.common.synthetic import SyntheticImage, read_synthetic
from sdaug.diffusion.generators import KOHYA_WEIGHTS, LORA_WEIGHTS
from sdaug.diffusion.pipelines import save_pipeline
from sdaug.page.orders import Artist, make_order
from sdaug.page.study_folder import StudyFolder
from sdaug.run.cli import main

ROOT = Path(__file__).parents[1]
CLASSES, SIZE = ("plain", "rare"), 16
STAGES = {
    "base": "--prepared data/prepared --out models/base --history metrics/base.csv --seen metrics/seen.json",
    "class_images": "--base models/base --out data/class_images",
    "dreambooth": "--class rare --base models/base --class-images data/class_images --prepared data/prepared "
    "--out models/dreambooth/rare --history metrics/dreambooth/rare",
    "synthesize": "--class rare --generator models/dreambooth/rare --base models/base --prepared data/prepared "
    "--classes metrics/classes.json --out data/synthetic/rare --metrics metrics/synthesize.json",
}


def write_study(root: Path, method: str) -> None:
    """Params, prepared photos and an SDXL to start from."""
    params = read_params(ROOT / "params.yaml")
    params["classes"], params["prepare"]["size_pixels"], params["generator_seeds"] = list(CLASSES), SIZE, [3]
    params["concepts"] = {"rare": {"instance_prompt": "a photo of a zwa"}}
    params["base"] |= {"model": "xl", "adapt_steps": 2, "adapt_batch_size": 2, "caption_dropout": 0.5}
    params["class_images"]["num_images"] = 2
    for section in ("class_images", "synthesize"):
        params[section]["drawing"] |= {"inference_steps": 3, "batch_size": 2, "sampler": "euler"}
    params["synthesize"] |= {"num_images": 3, "variants": {"near": {"start": "photo", "strength": 0.7}}}
    text = {"train_text_encoder": method == "lora", "validation_loss_steps": 1, "preview_steps": 1}
    params["dreambooth"] |= {"method": method, "training_steps": 2, "batch_size": 1, "num_preview_images": 1} | text
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (root / "data" / "prepared" / "images").mkdir(parents=True)
    photos = [
        Photo(id=f"{n:02}", label=CLASSES[n % 3 == 0], group=str(n), split="train", fold=n % 2, sha256="")
        for n in range(12)
    ]
    for n, photo in enumerate(photos):
        pixels = np.random.default_rng(n).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        save_png(root / "data" / "prepared" / "images" / photo.file_name, pixels)
    write_manifest(root / "data" / "prepared" / "manifest.csv", photos)
    write_json(root / "metrics" / "classes.json", {"classes": list(CLASSES)})
    save_pipeline(build_small_xl(), root / "xl")


@pytest.fixture(scope="module", params=["full", "lora"])
def study(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A study that ran from its base to its synthetic images."""
    root = tmp_path_factory.mktemp(request.param)
    write_study(root, request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("SDAUG_MLFLOW", "off")
        for name, words in STAGES.items():
            patch.setattr(sys, "argv", [name, *words.split()])
            runpy.run_path(str(ROOT / "stages" / f"{name}.py"), run_name="__main__")
    return root


def images_of(study: Path) -> list[SyntheticImage]:
    return read_synthetic(study / "data" / "synthetic" / "rare")


def test_every_image_is_drawn_with_its_own_pixels(study: Path) -> None:
    images = images_of(study)
    pixels = [read_png(study / "data" / "synthetic" / "rare" / image.file_name) for image in images]
    assert [image.variant for image in images] == ["plain"] * 3 + ["near"] * 3
    assert {one.shape for one in pixels} == {(SIZE, SIZE, 3)} and len({one.tobytes() for one in pixels}) == 6


def test_losses_are_in_the_history(study: Path) -> None:
    head, *rows = (study / "metrics" / "dreambooth" / "rare" / "3.csv").read_text().splitlines()
    assert head == "step,instance_loss,prior_loss,validation_loss" and len(rows) == 2


def test_redraw_gives_the_same_bytes(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    first, *_, last = images_of(study)
    for image in (first, last):  # from noise, and from a photo
        main(["redraw", image.id, "--out", str(tmp_path / f"{image.id}.png")])
        wanted = read_png(study / "data" / "synthetic" / "rare" / image.file_name)
        assert read_png(tmp_path / f"{image.id}.png").tobytes() == wanted.tobytes()


def test_page_draws_the_same_bytes(study: Path) -> None:
    artist, image = Artist(StudyFolder(study)), images_of(study)[0]
    order = make_order(
        {
            "model": "rare/3",
            "prompt": image.prompt,
            "negative_prompt": image.drawing.negative_prompt,
            "sampler": image.drawing.sampler,
            "steps": image.drawing.inference_steps,
            "width": SIZE,
            "height": SIZE,
            "guidance_scale": image.drawing.guidance_scale,
            "seed": image.seed,
            "batch_count": 1,
            "batch_size": image.drawing.batch_size,
            "precision": image.drawing.precision,
        }
    )
    wanted = read_png(study / "data" / "synthetic" / "rare" / image.file_name)
    assert next(artist.draw(order)).pixels.tobytes() == wanted.tobytes() == artist.redraw(image).tobytes()


def test_base_adapted_and_generators_load_in_plain_diffusers(study: Path) -> None:
    base = StableDiffusionXLPipeline.from_pretrained(study / "models" / "base")
    assert not torch.equal(base.unet.conv_in.weight, build_small_xl().unet.conv_in.weight)
    generator = study / "models" / "dreambooth" / "rare" / "3"
    if (generator / LORA_WEIGHTS).is_file():
        assert (generator / KOHYA_WEIGHTS).is_file()
        base.load_lora_weights(generator, weight_name=LORA_WEIGHTS)
        assert set(base.get_list_adapters()) == {"unet", "text_encoder", "text_encoder_2"}
    else:
        tuned = StableDiffusionXLPipeline.from_pretrained(generator)
        assert not torch.equal(tuned.unet.conv_in.weight, base.unet.conv_in.weight)
