"""Drawing on the page: the images of the stage and of `sdaug redraw`, byte for byte, and orders that are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_studies import DRAWING, HOSTILE, PROMPT, SIZE, write_page_study
from PIL import Image

from sdaug.common.images import read_png
from sdaug.common.synthetic import SyntheticImage, read_synthetic
from sdaug.page.jobs import Job
from sdaug.page.orders import Artist, Order, make_order
from sdaug.page.parameters import parameters_of, read_parameters, save_with_parameters
from sdaug.page.study_folder import StudyFolder
from sdaug.run.cli import main

MODEL = f"{HOSTILE}/0"
VALUES: dict[str, Any] = {
    "model": MODEL,
    "prompt": PROMPT,
    "negative_prompt": "grey",
    "sampler": "dpm_solver",
    "steps": 3,
    "width": SIZE,
    "height": SIZE,
    "guidance_scale": 2.5,
    "seed": 7,
    "batch_count": 1,
    "batch_size": 4,
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    root = tmp_path_factory.mktemp("page")
    write_page_study(root)
    return StudyFolder(root)


@pytest.fixture(scope="module")
def artist(folder: StudyFolder) -> Artist:
    return Artist(folder)


@pytest.fixture(scope="module")
def images(folder: StudyFolder) -> list[SyntheticImage]:
    return read_synthetic(folder.synthetic / HOSTILE)


def draw(artist: Artist, *orders: Order) -> Job:
    job = Job(artist, orders)
    job.start()
    assert job.wait(60)
    return job


def test_the_seed_of_an_image_draws_the_file_of_synthesize(
    folder: StudyFolder, artist: Artist, images: list[SyntheticImage]
) -> None:
    # Of the first batch, and of the second one, which was filled up.
    for image in (images[0], images[1], images[5]):
        job = draw(artist, make_order(VALUES | {"seed": image.seed}))
        pixels = job.images[0][1].pixels
        assert pixels.tobytes() == read_png(folder.synthetic / HOSTILE / image.file_name).tobytes()
        assert pixels.tobytes() == artist.redraw(image).tobytes()


def test_page_and_redraw_command_draw_the_same_bytes(
    folder: StudyFolder, artist: Artist, images: list[SyntheticImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.root)
    out = tmp_path / "again.png"
    main(["redraw", images[2].id, "--out", str(out)])
    job = draw(artist, make_order(VALUES | {"seed": images[2].seed}))
    assert job.images[0][1].pixels.tobytes() == read_png(out).tobytes()


def test_images_of_an_order_count_up_their_seeds_and_each_can_be_drawn_alone(artist: Artist) -> None:
    many = draw(artist, make_order(VALUES | {"batch_count": 2}))
    assert [image.seed for _, image in many.images] == list(range(7, 15))
    alone = draw(artist, make_order(VALUES | {"seed": 13}))
    assert np.array_equal(alone.images[0][1].pixels, many.images[6][1].pixels)


def test_text_of_a_png_restores_its_order(tmp_path: Path) -> None:
    order = make_order(VALUES | {"guidance_scale": 3.25, "seed": 2**32 + 5, "width": 24})
    save_with_parameters(tmp_path / "a.png", Image.new("RGB", (8, 8)), order.parameters(order.seed))
    found = read_parameters(parameters_of(tmp_path / "a.png"))
    assert found.remarks == []
    assert make_order({"batch_count": 1, **found.values}) == order


def test_precision_that_was_cast_does_not_leak_into_the_next_image(artist: Artist) -> None:
    first, narrow, again = (
        draw(artist, make_order(VALUES | {"precision": precision})).images[0][1].pixels
        for precision in ("fp32", "bf16", "fp32")
    )
    assert np.array_equal(first, again) and not np.array_equal(first, narrow)


def test_a_generator_that_was_trained_anew_is_loaded_anew(artist: Artist, folder: StudyFolder) -> None:
    before = artist.load(MODEL, DRAWING)
    assert artist.load(MODEL, DRAWING) is before
    (folder.model_dir(MODEL) / "unet" / "diffusion_pytorch_model.safetensors").touch()
    assert artist.load(MODEL, DRAWING) is not before


def test_stop_ends_the_work_before_the_next_pass_and_gives_up_the_models(artist: Artist) -> None:
    job = Job(artist, [make_order(VALUES | {"steps": 900})])

    def stop_at_the_third(title: str, done: int, total: int) -> None:
        assert (title, done, total) == (MODEL, 0, 4)
        job.stop()

    job._hear = stop_at_the_third  # type: ignore[method-assign]
    job.start()
    assert job.wait(60) and job.was_stopped
    assert job.progress.num_steps <= 1 and job.images == [] and list(artist.pipelines) == []


def test_progress_counts_steps_and_images_of_the_bar(artist: Artist) -> None:
    job = draw(artist, make_order(VALUES | {"batch_count": 2}))
    found = job.progress
    assert (found.num_steps, found.total_steps, found.num_images, found.total) == (6, 6, 8, 8)


def test_random_seed_is_drawn_once_and_told() -> None:
    order = make_order(VALUES | {"seed": -1})
    assert 0 <= order.seed < 2**32 and f"Seed: {order.seed}," in order.parameters(order.seed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": " \n "}, "Prompt: empty; say what"),
        ({"width": 20}, "Width: 20, need a multiple of 8, .*; try 16"),
        ({"height": 4096}, "Height: 4096, need a whole number from 16 to 2048"),
        ({"height": None}, "Height: empty, need a number"),
        ({"steps": 0}, "Steps: 0, need a whole number from 1 to 1000"),
        ({"steps": 3, "sampler": "pndm"}, "inference_steps: 3; need 4 or more for pndm"),
        ({"guidance_scale": 0.5}, "guidance_scale: 0.5; need 1 or more"),
        ({"seed": -2}, "Seed: -2, need a whole number from -1 to"),
        ({"seed": 1.5}, "Seed: 1.5, need a whole number"),
        ({"batch_count": 300, "batch_size": 4}, "300 x 4 = 1200 images, need at most 400 .* lower .* to 100"),
        ({"batch_size": 64, "width": 2048, "height": 2048}, "64 images of 2048 x 2048 at once, .*lower it to 4"),
        ({"sampler": "karras"}, "sampler: 'karras' is not allowed; choose from dpm_solver"),
    ],
)
def test_orders_that_cannot_be_drawn_are_refused_with_a_way_out(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_order(VALUES | changes)


@pytest.mark.parametrize("model", ["score_9/0", "../../x", "", f"{HOSTILE}/../{HOSTILE}/0"])
def test_models_that_are_not_on_disk_are_refused(folder: StudyFolder, model: str) -> None:
    with pytest.raises(FileNotFoundError, match="not in models/; there are base, .*choose another"):
        folder.model_dir(model)


def test_lora_and_full_generators_are_listed_and_others_are_not(tmp_path: Path) -> None:
    for name in ("a/0/pytorch_lora_weights.safetensors", "b/1/model_index.json", "c/0/notes.txt"):
        path = tmp_path / "models" / "dreambooth" / name
        path.parent.mkdir(parents=True)
        path.touch()
    assert StudyFolder(tmp_path).list_models() == ["a/0", "b/1"]
