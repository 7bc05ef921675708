"""Procedural images with captions, from which a network can learn what pictures are made of.

Dead leaves and textured shapes after Baradad et al. (arXiv 2106.05963): images without any photo that still teach
useful features. Each image is a function of its seed and index alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from sdaug.common.seeding import derive_seed, numpy_stream
from sdaug.phantom.params import CLASSES, PhantomParams
from sdaug.phantom.photo import draw_photo
from sdaug.phantom.udders import Teat

Field = NDArray[np.float64]
Picture = tuple[NDArray[np.uint8], str]

COLOURS = {
    "red": (0.80, 0.20, 0.18), "orange": (0.90, 0.52, 0.16), "yellow": (0.93, 0.83, 0.30), "green": (0.25, 0.58, 0.24),
    "blue": (0.20, 0.36, 0.74), "purple": (0.50, 0.26, 0.62), "pink": (0.92, 0.62, 0.64), "brown": (0.42, 0.27, 0.15),
    "white": (0.94, 0.92, 0.88), "grey": (0.52, 0.51, 0.50), "black": (0.10, 0.09, 0.09),
}  # fmt: skip
SHAPES = ("disc", "ring", "square", "triangle", "star", "flower", "leaf", "blob")
TEXTURES = ("smooth", "rough", "striped", "spotted", "cracked", "hairy")
TEAT_CAPTIONS = ("a photo of a teat end", "a close photo of a teat end", "a photo of the teat end of a cow")


def draw_teat(seed: int, index: int, size: int, scores: Sequence[int]) -> Picture:
    """A phantom photo of a random score, which the caption does not tell, at a random distance."""
    rng = numpy_stream(seed, "teat", index)
    score = int(rng.choice(np.asarray(scores)))
    counts = dict.fromkeys(CLASSES, 1)
    params = PhantomParams(
        train_counts=counts,
        test_counts=counts,
        size_pixels=size,
        zoom=float(rng.uniform(1.0, 2.0)),
        ring_contrast=1.0,
        blur_pixels=float(rng.uniform(0.2, 0.8)),
        noise=float(rng.uniform(0.0, 0.015)),
        label_noise_fraction=0.0,
        seed=derive_seed(seed, "teats") % 2**31,
    )
    teat = Teat(index=index, split="", udder=f"u{index}", position="LF", label=CLASSES[score - 1], score=score)
    return draw_photo(teat, params), str(rng.choice(TEAT_CAPTIONS))


def draw_leaves(seed: int, index: int, size: int) -> Picture:
    """Dead leaves: shapes of all sizes, one over the other, in two colours or in many."""
    rng = numpy_stream(seed, "leaves", index)
    names = rng.choice(list(COLOURS), size=int(rng.integers(1, 4)), replace=False)
    shape = str(rng.choice(SHAPES))
    image = np.ones((3, size, size)) * _colour(str(names[0]), rng)
    for _ in range(int(rng.integers(20, 90))):
        radius = 0.04 / (1 - rng.uniform(0, 0.93))  # as many at each scale: sizes follow a power law
        inside = _inside(shape, rng, size, radius, rng.uniform(-0.1, 1.1, 2))
        colour = _colour(str(rng.choice(names)), rng) * (1 + 0.1 * _noise(rng, size, 8))
        image += inside * (colour * rng.uniform(0.75, 1.2) - image)
    listed = " and ".join(sorted(map(str, names)))
    return _finish(image, rng), f"a picture of many {listed} {_plural(shape)}"


def draw_object(seed: int, index: int, size: int) -> Picture:
    """One textured shape before a textured background, both named in the caption."""
    rng = numpy_stream(seed, "object", index)
    own, behind = (str(name) for name in rng.choice(list(COLOURS), size=2, replace=False))
    shape, texture, ground = (str(rng.choice(words)) for words in (SHAPES, TEXTURES, TEXTURES))
    background = _textured(ground, behind, rng, size)
    radius, place = rng.uniform(0.18, 0.42), rng.normal(0.5, 0.07, 2)
    inside = _inside(shape, rng, size, radius, place)
    shadow = ndimage.shift(inside, rng.normal(0, 0.03, 2) * size, order=1, mode="nearest")
    image = background * (1 - 0.4 * ndimage.gaussian_filter(shadow, size / 24))
    image += inside * (_textured(texture, own, rng, size) * _shade(inside, rng) - image)
    return _finish(image, rng), f"a {texture} {own} {shape} on a {ground} {behind} background"


def _plural(shape: str) -> str:
    return {"leaf": "leaves"}.get(shape, f"{shape}s")


def _colour(name: str, rng: Generator) -> Field:
    shade: Field = np.array(COLOURS[name]) * rng.normal(1, 0.08) + rng.normal(0, 0.03, 3)
    return shade[:, None, None]


def _grid(size: int) -> tuple[Field, Field]:
    centres = (np.arange(size) + 0.5) / size
    return centres[:, None], centres[None, :]


def _noise(rng: Generator, size: int, cells: int) -> Field:
    """Smooth noise of about unit variance with so many bumps across."""
    coarse = rng.standard_normal((cells + 3, cells + 3))
    zoomed = ndimage.zoom(coarse, (size + 8) / (cells + 3), order=3, mode="nearest")[:size, :size]
    scaled: Field = zoomed / max(float(zoomed.std()), 1.0e-6)
    return scaled


def _inside(shape: str, rng: Generator, size: int, radius: float, place: NDArray[np.float64]) -> Field:
    """How much of each pixel `(H, W)` is inside a turned shape, 0 to 1."""
    y, x = _grid(size)
    turn, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1.0)
    dx, dy = x - place[0], y - place[1]
    u, v = dx * np.cos(turn) + dy * np.sin(turn), (dy * np.cos(turn) - dx * np.sin(turn)) / stretch
    distance, angle = np.hypot(u, v), np.arctan2(v, u)
    edge = {
        "disc": radius - distance,
        "ring": radius * rng.uniform(0.2, 0.35) - np.abs(distance - radius * 0.75),
        "square": radius * 0.85 - np.maximum(np.abs(u), np.abs(v)),
        "triangle": radius * 0.55 - distance * np.cos((angle % (2 * np.pi / 3)) - np.pi / 3),
        "star": radius * (0.62 + 0.34 * np.cos(5 * angle)) - distance,
        "flower": radius * (0.8 + 0.2 * np.cos(7 * angle)) - distance,
        "leaf": radius - np.hypot(u, 2.6 * v) * (1 + 0.3 * u / radius),
        "blob": radius * (0.9 + 0.16 * np.cos(2 * angle + 1) + 0.1 * np.cos(3 * angle + 2)) - distance,
    }[shape]
    inside: Field = np.clip(edge * size + 0.5, 0, 1)
    return inside


def _textured(texture: str, colour: str, rng: Generator, size: int) -> Field:
    """A colour `(3, H, W)` with a texture."""
    y, x = _grid(size)
    turn, period = rng.uniform(0, np.pi), rng.uniform(0.06, 0.16)
    along = x * np.cos(turn) + y * np.sin(turn) + 0.02 * _noise(rng, size, 4)
    pattern = {
        "smooth": 0.08 * _noise(rng, size, 3),
        "rough": 0.22 * _noise(rng, size, 20),
        "striped": 0.30 * np.sign(np.sin(2 * np.pi * along / period)),
        "spotted": -0.5 * (_noise(rng, size, 10) > 1.0),
        "cracked": -0.6 * (np.abs(_noise(rng, size, 6)) < 0.12),
        "hairy": 0.25 * ndimage.rotate(np.repeat(rng.standard_normal((1, 2 * size)), 2 * size, axis=0),
                                       np.degrees(turn), reshape=False, order=1)[size // 2:, size // 2:][:size, :size],
    }[texture]  # fmt: skip
    painted: Field = _colour(colour, rng) * (1 + 0.08 * _noise(rng, size, 5) + pattern)
    return painted


def _shade(inside: Field, rng: Generator) -> Field:
    """Light from one side, over the shape as if it bulged."""
    height = ndimage.gaussian_filter(inside, inside.shape[0] / 10)
    angle = rng.uniform(0, 2 * np.pi)
    slope = ndimage.sobel(height, 0) * np.sin(angle) + ndimage.sobel(height, 1) * np.cos(angle)
    light: Field = np.clip(0.75 + 0.3 * height + 0.5 * slope, 0.3, 1.3)
    return light


def _finish(image: Field, rng: Generator) -> NDArray[np.uint8]:
    """Light, a little blur and noise, rounded to `(H, W, 3)`."""
    image = image * rng.uniform(0.7, 1.1)
    sigma = rng.uniform(0.2, 0.7)
    image = ndimage.gaussian_filter(image, (0, sigma, sigma)) + rng.uniform(0, 0.015) * rng.standard_normal(image.shape)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0).copy()
