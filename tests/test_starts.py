"""Images that start from photos: which photos, and that variants leave the plain images as they were."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from small import build_small
from test_sampling import FROM_NOISE, PROMPT

from sdaug.common.images import read_png, save_png
from sdaug.common.manifest import Photo
from sdaug.common.synthetic import PLAIN, by_variant, read_synthetic, write_synthetic
from sdaug.diffusion.latents import to_pixels
from sdaug.diffusion.redraw import redraw
from sdaug.diffusion.sampling import draw_pixels
from sdaug.synthesize.params import SynthesizeParams
from sdaug.synthesize.starts import neighbour, read_sources
from sdaug.synthesize.synthesis import Order, synthesize

CLASSES = ["low", "middle", "high"]
FROM_PHOTO = replace(FROM_NOISE, start="photo", strength=0.5, inference_steps=10)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Four photos of each class."""
    (tmp_path / "images").mkdir()
    for n, photo in enumerate(photos()):
        save_png(
            tmp_path / "images" / photo.file_name,
            np.random.default_rng(n).integers(0, 256, (16, 16, 3), dtype=np.uint8),
        )
    return tmp_path


def photos() -> list[Photo]:
    return [
        Photo(id=f"{label}{n}", label=label, group=f"g{label}{n}", split="train", fold=0, sha256="")
        for label in CLASSES
        for n in range(4)
    ]


@pytest.mark.parametrize(
    ("label", "counts", "expected"),
    [
        ("low", (1, 5, 9), "middle"),
        ("high", (1, 5, 2), "middle"),
        ("middle", (1, 5, 9), "high"),
        ("middle", (9, 5, 1), "low"),
        ("middle", (4, 5, 4), "low"),
    ],
)
def test_neighbour_is_the_adjacent_class_with_more_photos(label: str, counts: tuple[int, ...], expected: str) -> None:
    assert neighbour(label, dict(zip(CLASSES, counts, strict=True))) == expected


@pytest.mark.parametrize(("start", "shown"), [("photo", "high"), ("neighbour", "middle")])
def test_every_photo_takes_its_turn_and_no_other_class_does(prepared: Path, start: str, shown: str) -> None:
    drawing = replace(FROM_PHOTO, start=start)
    sources = read_sources(prepared, photos(), CLASSES, "high", drawing, 0)
    assert sources is not None
    first = [sources.photo_id(index) for index in range(4)]
    assert sorted(first) == [f"{shown}{n}" for n in range(4)]
    assert [sources.photo_id(index) for index in range(4, 8)] == first
    assert np.array_equal(sources.start([5]).photos[0], read_png(prepared / "images" / f"{first[1]}.png"))


def test_nothing_starts_from_a_photo_that_generators_may_not_see(prepared: Path) -> None:
    sources = read_sources(prepared, photos()[:-2], CLASSES, "high", FROM_PHOTO, 0)
    assert sources is not None and set(sources.ids) == {"high0", "high1"}
    assert read_sources(prepared, photos(), CLASSES, "high", FROM_NOISE, 0) is None


def test_manifest_names_the_photo_and_the_image_can_be_drawn_again(prepared: Path, tmp_path: Path) -> None:
    pipeline = build_small()
    out_dir = tmp_path / "out"
    out_dir.mkdir()
    drawn = []
    for variant, drawing in ((PLAIN, FROM_NOISE), ("near", FROM_PHOTO)):
        order = Order(
            label="high",
            draw=0,
            variant=variant,
            prompt=PROMPT,
            drawing=drawing,
            size_pixels=16,
            num_images=3,
            sources=read_sources(prepared, photos(), CLASSES, "high", drawing, 0),
        )
        drawn += synthesize(pipeline, order, out_dir)[0]
    write_synthetic(out_dir, drawn)
    found = by_variant(read_synthetic(out_dir))
    assert list(found) == ["high", "high (near)"]
    assert {image.photo for image in found["high"]} == {""}
    assert all(image.photo.startswith("high") for image in found["high (near)"])
    assert len({image.id for images in found.values() for image in images}) == 6
    again = redraw(pipeline, found["high (near)"], prepared, title="again")
    known = np.stack([read_png(out_dir / image.file_name) for image in found["high (near)"]])
    assert np.abs(again.astype(int) - known).max() <= 1
    (prepared / "images" / f"{found['high (near)'][0].photo}.png").unlink()
    with pytest.raises(FileNotFoundError, match="started from this photo; `dvc pull`"):
        redraw(pipeline, found["high (near)"], prepared, title="again")


def test_a_weak_start_stays_near_the_photo(prepared: Path) -> None:
    pipeline = build_small()
    source = read_png(prepared / "images" / "high0.png")[None]
    decoded = pipeline.vae.decode(pipeline.vae.encode(to_pixels(source)).latent_dist.mean).sample

    def distance(strength: float) -> float:
        sources = read_sources(prepared, photos()[-4:-3], CLASSES, "high", replace(FROM_PHOTO, strength=strength), 0)
        assert sources is not None
        drawing = replace(FROM_NOISE, inference_steps=10, guidance_scale=1.0)
        drawn = draw_pixels(pipeline, "", drawing, [1], height=16, width=16, title="t", start=sources.start([0]))
        return float((to_pixels(drawn) - decoded).square().mean())

    assert distance(0.1) < distance(1.0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"strength": 0.5}, r"variants\.near\.strength: 0\.5; nothing to start from"),
        ({"start": "photo"}, r"variants\.near\.strength: None; need more than 0, at most 1"),
        ({"start": "photo", "strength": 1.5}, r"variants\.near\.strength: 1\.5; need more than 0"),
        ({"start": "photo", "strength": 0.01}, r"strength: 0\.01; less than one of 2 inference_steps"),
        (
            {"start": "photo", "strength": 0.5, "sampler": "pndm", "inference_steps": 4},
            "pndm.*cannot start from a photo",
        ),
        ({"precision": "bf16"}, r"variants: \['bf16', 'fp32'\]; need one precision"),
        ({"colour": 1}, r"variants\.near\.colour: unknown key"),
    ],
)
def test_variant_that_breaks_a_rule_is_refused(entry: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SynthesizeParams(
            num_images=None,
            multiple_of_missing=1.0,
            min_images=0,
            shards=1,
            drawing=FROM_NOISE,
            variants={"near": entry},
        )


def test_variant_names_what_differs() -> None:
    params = SynthesizeParams(
        num_images=None,
        multiple_of_missing=1.0,
        min_images=0,
        shards=1,
        drawing=FROM_NOISE,
        variants={"guided": {"guidance_scale": 3.0}},
    )
    assert params.drawings() == {PLAIN: FROM_NOISE, "guided": replace(FROM_NOISE, guidance_scale=3.0)}
    assert asdict(FROM_NOISE)["strength"] is None
