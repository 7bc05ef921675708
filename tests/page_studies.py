"""A tiny study for the page: models, images that the stage `synthesize` drew, and predictions; and its server."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import uvicorn
import yaml
from small import build_small

from sdaug.classify.models import build_model, save_model
from sdaug.common.files import write_csv, write_text
from sdaug.common.images import save_png
from sdaug.common.manifest import Photo, write_manifest
from sdaug.common.params import SynthesisDrawing
from sdaug.common.sections import read_params
from sdaug.common.synthetic import PLAIN, write_synthetic
from sdaug.diffusion.pipelines import save_pipeline
from sdaug.page.server import HOST, make_app, require_gradio
from sdaug.run.page_command import plan_study
from sdaug.synthesize.synthesis import Order, synthesize
from sdaug.train.probe import RECIPE

HOSTILE = "<b>\"x' & y"
CLASSES = ("plain", HOSTILE)
PROMPT = 'a photo of a <i>zwa</i>, "odd" thing'
SIZE = 16
DRAWING = SynthesisDrawing(
    negative_prompt="grey",
    guidance_scale=2.5,
    inference_steps=3,
    sampler="dpm_solver",
    batch_size=4,
    precision="fp32",
    start="noise",
    strength=None,
)
ARMS = {"original": (0, 1), "augmented": (0,)}  # their seeds
PARAMS = Path(__file__).parents[1] / "params.yaml"


def write_page_study(root: Path) -> None:
    """Write all parts that the page reads."""
    _write_params(root)
    for folder, seed in ((root / "models" / "base", 0), (root / "models" / "dreambooth" / HOSTILE / "0", 1)):
        save_pipeline(build_small(size_pixels=SIZE, seed=seed), folder)
    _write_photos(root / "data" / "prepared")
    _write_synthetic(root)
    _write_classifiers(root)
    write_text(root / "report" / "index.html", "<!DOCTYPE html><title>r</title><p>The verdict stands here.</p>")
    write_text(root / "secret.txt", "not for the page")


def _write_params(root: Path) -> None:
    params = read_params(PARAMS)
    params["classes"], params["prepare"]["size_pixels"] = list(CLASSES), SIZE
    params["concepts"] = {HOSTILE: {"instance_prompt": PROMPT}}
    drawing = {name: getattr(DRAWING, name) for name in params["synthesize"]["drawing"]}
    params["synthesize"]["drawing"] = drawing
    write_text(root / "params.yaml", yaml.safe_dump(params, sort_keys=False, allow_unicode=True))


def _write_photos(prepared: Path) -> None:
    (prepared / "images").mkdir(parents=True)
    photos = []
    for n in range(12):
        split = "test" if n % 2 else "train"
        pixels = np.random.default_rng(n).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        photo = Photo(
            id=f"{split}{n:02}",
            label=CLASSES[n % 3 == 0],
            group=f"{split}{n // 2}",
            split=split,  # type: ignore[arg-type]
            fold=-1 if split == "test" else int(n != 10),
            sha256="",
        )
        save_png(prepared / "images" / photo.file_name, pixels)
        photos.append(photo)
    write_manifest(prepared / "manifest.csv", photos)


def _write_synthetic(root: Path) -> None:
    """As the stage does, for the hostile class."""
    from sdaug.diffusion.generators import load_generator

    torch.use_deterministic_algorithms(True)
    folder = root / "data" / "synthetic" / HOSTILE
    folder.mkdir(parents=True)
    pipeline = load_generator(root / "models" / "dreambooth" / HOSTILE / "0", root, torch.device("cpu"))
    order = Order(label=HOSTILE, draw=0, variant=PLAIN, prompt=PROMPT, drawing=DRAWING, size_pixels=SIZE, num_images=6)
    images, _ = synthesize(pipeline, order, folder)
    write_synthetic(folder, images)
    pair = {"label": HOSTILE, "draw": 0, "photo_label": "plain", "distance": 0.5, "ratio": 0.9, "is_copy": 0}
    write_csv(root / "metrics" / "closest_pairs.csv", [pair | {"synthetic": images[0].id, "photo": "train02"}])
    write_csv(root / "data" / "filter.csv", [{"id": image.id, "probability": 0.25} for image in images])


def _write_classifiers(root: Path) -> None:
    """Models of two arms, and predictions of which those of `original` are wrong on `test03`."""
    torch.manual_seed(0)
    tests = [n for n in range(12) if n % 2]
    for arm, seeds in ARMS.items():
        for seed in seeds:
            recipe = replace(RECIPE, image_size=24)
            model, card = build_model(recipe, CLASSES, prepared_pixels=SIZE, sixteen_bit_maximum=4095)
            folder = root / "models" / "classifiers" / f"tiny-{arm}" / str(seed)
            folder.mkdir(parents=True)
            save_model(folder, model.state_dict(), card)
            rows = []
            for n in tests:
                k = int(n % 3 == 0) ^ int(arm == "original" and n == 3)
                chances = {f"p_{label}": float(k == place) for place, label in enumerate(CLASSES)}
                rows.append({"id": f"test{n:02}", "group": f"g{n // 2}", "label": CLASSES[n % 3 == 0], **chances})
            write_csv(root / "metrics" / "predictions" / f"tiny-{arm}" / f"{seed}.csv", rows)


@contextmanager
def served(root: Path, scratch: Path) -> Iterator[str]:
    """The address of the page of a study, served by a thread."""
    require_gradio()
    sock = socket.socket()
    sock.bind((HOST, 0))
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(root, scratch, partial(plan_study, root)), log_level="warning", timeout_graceful_shutdown=1
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        yield f"http://{HOST}:{sock.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(20)
        sock.close()
