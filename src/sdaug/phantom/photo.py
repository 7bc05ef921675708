"""Drawing one phantom photo, a function of section `phantom` and the teat.

Everything is drawn at twice the photo's size, in fractions of its width, so a teat looks the same at every size. All
arithmetic is in float64: the last bits of `exp` or of a matrix product differ between processors, and in float64 these
differences are too far below one grey level to change a pixel.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from sdaug.common.seeding import numpy_stream
from sdaug.phantom.params import PhantomParams
from sdaug.phantom.udders import Teat

Field = NDArray[np.float64]
# Neighbouring scores overlap slightly, as with human raters: one photo in ten looks closer to a neighbouring score.
SEVERITY_NOISE = 0.3
SUPERSAMPLING = 2

# Colours and images are channels first, `(3, 1, 1)` and `(3, H, W)`: twice as fast as channels last.
SKINS = ((0.86, 0.58, 0.53), (0.78, 0.48, 0.46), (0.76, 0.57, 0.44), (0.46, 0.43, 0.45), (0.25, 0.23, 0.25))
SKIN_WEIGHTS = (0.35, 0.25, 0.15, 0.15, 0.10)
BARNS = ((0.17, 0.19, 0.17), (0.26, 0.22, 0.19), (0.10, 0.10, 0.10))
FURS = ((0.45, 0.24, 0.13), (0.62, 0.46, 0.30), (0.72, 0.68, 0.62))
PIGMENT, FLUSH, ORIFICE, DIRT, KERATIN_WHITE, KERATIN_YELLOW, KERATIN_BROWN = np.array((
    (0.20, 0.17, 0.19), (0.80, 0.36, 0.36), (0.16, 0.07, 0.06), (0.26, 0.17, 0.09),
    (0.98, 0.92, 0.85), (0.96, 0.83, 0.57), (0.46, 0.29, 0.14),
))[..., None, None]  # fmt: skip
TURN_STEPS = 512  # angular resolution of the ring's outline


def draw_photo(teat: Teat, params: PhantomParams) -> NDArray[np.uint8]:
    """The photo `(H, W, 3)` of a teat, independent of all other photos."""
    # `udder` gives what siblings share, drawn in the same order for each; `rng` gives what is specific to the teat.
    udder = numpy_stream(params.seed, "udder", teat.udder)
    rng = numpy_stream(params.seed, "teat", teat.index)
    body = _place_teat(udder, rng, params.size_pixels * SUPERSAMPLING, params.zoom)
    image = _draw_backdrop(udder, rng, params.size_pixels * SUPERSAMPLING)
    image = _draw_teat(image, body, udder, rng)
    image = _draw_ring(image, body, teat.score, params, rng)
    return _expose(image, params, udder, rng)


@lru_cache(maxsize=32)
def _spline_weights(size: int, cells: int) -> Field:
    """`(size, cells + 3)` weights of cubic B-splines, scaled to keep the variance of white noise."""
    place = (np.arange(size) + 0.5) / size * cells
    distance = np.abs(place[:, None] - np.arange(-1, cells + 2))
    weights = np.where(distance < 1, 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, None) ** 3 / 6)
    scaled: Field = weights / np.sqrt(np.mean(np.sum(weights**2, axis=1)))
    return scaled


def _smooth_noise(rng: Generator, size: int, cells: int) -> Field:
    """`(H, W)` noise of variance 1 with `cells` bumps across."""
    weights = _spline_weights(size, cells)
    return weights @ rng.standard_normal((weights.shape[1], weights.shape[1])) @ weights.T


def _strokes(rng: Generator, along: Field, across: Field) -> Field:
    """`(H, W)` noise in curved coordinates, one bump per unit: hairs or wrinkles where `along` changes slowly."""
    noise = rng.standard_normal((64, 64))
    strokes: Field = ndimage.map_coordinates(noise, [along, across], order=1, mode="grid-wrap")
    return strokes


def _step(value: Field | float, low: float, high: float) -> Field:
    """Smoothstep: 0 below `low`, 1 above `high`, smooth in between."""
    t = np.clip((np.asarray(value) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _mix(image: Field, colour: Field, amount: Field) -> Field:
    """The image blended with a colour; `amount` `(H, W)` is its opacity, 0 to 1."""
    return image + amount * (colour - image)


def _grid(size: int) -> tuple[Field, Field]:
    """The y `(H, 1)` and x `(1, W)` coordinates of pixel centres, in fractions of the width."""
    centres = (np.arange(size) + 0.5) / size
    return centres[:, None], centres[None, :]


@dataclass(frozen=True, kw_only=True)
class Body:
    """A teat's skin colour, light and coordinates, `(H, W)` each, in fractions of the photo's width."""

    skin: Field
    light_angle: float
    radius: float
    across: Field  # from the axis
    up: Field  # from the tip, along the axis
    cap: Field  # 0 on the shaft to 1 at the tip
    rim: Field  # 0 on the axis to 1 at the outline


def _place_teat(udder: Generator, rng: Generator, size: int, zoom: float) -> Body:
    """A teat hanging into the photo from the top, its tip in the lower middle."""
    y, x = _grid(size)
    radius, tilt = zoom * rng.uniform(0.19, 0.30), np.clip(rng.normal(0, 0.2), -0.5, 0.5)
    dx, dy = x - np.clip(rng.normal(0.5, 0.045), 0.38, 0.62), np.clip(rng.normal(0.84, 0.04), 0.74, 0.93) - y
    across = dx * np.cos(tilt) - dy * np.sin(tilt) + 0.006 * _smooth_noise(rng, size, 7)
    up = dx * np.sin(tilt) + dy * np.cos(tilt) + 0.006 * _smooth_noise(rng, size, 7)
    length = radius * rng.uniform(0.95, 1.5)
    cap = np.clip(1 - up / length, 0, None)
    width = radius * (1 + rng.uniform(-0.05, 0.25) * (up - length))
    rim, angle = np.hypot(across / width, cap), udder.uniform(-np.pi, 0)
    skin = np.array(SKINS[udder.choice(len(SKINS), p=SKIN_WEIGHTS)]) * udder.normal(1, 0.08) * udder.normal(1, 0.025, 3)
    return Body(skin=skin[:, None, None], light_angle=angle, radius=radius, across=across, up=up, cap=cap, rim=rim)


def _draw_backdrop(udder: Generator, rng: Generator, size: int) -> Field:
    """Fur or barn: two colours with a soft border, blotches and hairs."""
    y, x = _grid(size)
    near, far = (udder.permutation((*BARNS, *FURS))[:2] * udder.uniform(0.75, 1.2, (2, 1)))[..., None, None]
    border = _step(_smooth_noise(rng, size, 2) + rng.normal(0.8, 0.8), -0.25, 0.25)
    angle, bend = rng.uniform(-0.9, 0.9), 0.04 * _smooth_noise(rng, size, 3)
    along, across = x * np.sin(angle) + y * np.cos(angle), x * np.cos(angle) - y * np.sin(angle) + bend
    hair = udder.uniform(0.02, 0.22) * border * _strokes(rng, along * 7, across * 60)
    return _mix(far, near, border) * (1 + 0.16 * _smooth_noise(rng, size, 5) + hair)


def _draw_teat(image: Field, body: Body, udder: Generator, rng: Generator) -> Field:
    """The teat over its backdrop: skin with wrinkles, pigment patches, some dirt, and shading."""
    size = image.shape[-1]
    skin = body.skin * (1 + 0.035 * _strokes(rng, body.up * 40, body.across * 12) + 0.05 * _smooth_noise(rng, size, 9))
    skin = _mix(skin, FLUSH, rng.uniform(0, 0.12) * np.exp(-((body.up / body.radius - 0.4) ** 2)))
    if udder.random() < 0.4:
        patches = _smooth_noise(rng, size, 4) + 0.08 * _smooth_noise(rng, size, 24) - udder.uniform(0.1, 1.3)
        skin = _mix(skin, PIGMENT, 0.9 * _step(patches, -0.08, 0.08))
    skin = _mix(skin, DIRT, 0.7 * _step(_smooth_noise(rng, size, 22), 2.6 - rng.uniform(0, 0.8), 3.0))

    bulge = np.sqrt(np.clip(1 - body.rim**2, 0, 1))
    side = np.clip(body.across / body.radius, -1, 1) * np.cos(body.light_angle)
    down = np.clip(body.cap, 0, 1) * np.sin(body.light_angle)
    shade = 0.34 + 0.62 * bulge + 0.22 * side + 0.12 * down
    gloss = 0.12 * np.exp(-(((side - 0.35) / 0.18) ** 2)) * bulge
    shadow = 0.45 * _step(1.35 - body.rim, 0.0, 0.5)
    inside = _step((1 - body.rim) * body.radius, -0.008, 0.008)
    return _mix(image * (1 - shadow), skin * shade + gloss, inside)


def _draw_ring(image: Field, body: Body, score: int, params: PhantomParams, rng: Generator) -> Field:
    """The orifice and the keratin ring around it; the score acts only through one continuous severity."""
    size = image.shape[-1]
    severity = score + float(np.clip(rng.normal(0, SEVERITY_NOISE), -0.75, 0.75))
    ring, rough, wild = (float(_step(severity, *ends)) for ends in ((1.1, 2.0), (2.05, 2.95), (3.0, 4.0)))

    # Position: rings are seen from below, so they look flattened; distance 1 is the outline of a smooth ring.
    radius = params.zoom * rng.uniform(0.11, 0.145) * (1 + 0.1 * rough + 0.1 * wild)
    dx = body.across - params.zoom * rng.normal(0, 0.02)
    dy = (body.up - body.radius * rng.uniform(0.48, 0.65)) / rng.uniform(0.7, 0.95)
    distance = np.hypot(dx, dy) / radius
    turn = ((np.arctan2(dy, dx) / (2 * np.pi) % 1) * TURN_STEPS).astype(np.int64) % TURN_STEPS
    outline, fronds = (table[turn] for table in _draw_outline(rng, rough, wild))

    # Thickness: a band with gaps and cracks, then fronds and crumbs.
    grain, lumps = _smooth_noise(rng, size, 34), _smooth_noise(rng, size, 14)
    outer = 1 + outline + (0.07 * rough + 0.12 * wild) * grain + 0.08 * rough * lumps
    inner = 0.5 - 0.16 * rough - 0.14 * wild + 0.08 * rough * lumps
    band = _step(outer - distance, 0.0, 0.22) * _step(distance - inner, -0.08, 0.16)
    band = band * (1 - 0.75 * rough * _step(lumps + 0.6 * grain, 1.0, 1.9))
    crumbs = wild * _step(_smooth_noise(rng, size, 18) - 1.3 * np.abs(distance - 0.9), 0.4, 0.7)
    cover = np.maximum(band, crumbs)
    relief = cover * (1 + 0.3 * rough * grain + 0.5 * wild * fronds)

    # Colour: pale skin when smooth, then yellow and brown, lit like a relief.
    slope_y, slope_x = np.gradient(relief, 1 / (size * radius))
    lit = slope_x * np.cos(body.light_angle) + slope_y * np.sin(body.light_angle)
    colour = KERATIN_WHITE + 0.35 * (1 - rough) * (body.skin - KERATIN_WHITE)
    colour = _mix(colour, KERATIN_YELLOW, rough * np.clip(0.65 + 0.3 * grain, 0, 1))
    colour = _mix(colour, KERATIN_BROWN, rough * _step(lumps + 0.5 * grain, 0.5 - 0.3 * wild, 1.7))
    colour = colour * np.clip(0.88 - 0.05 * lit + 0.16 * wild * fronds, 0.35, 1.2)
    hole = 0.85 * _step(rng.uniform(0.2, 0.3) * (1 + 0.5 * outline) - distance, -0.08, 0.08)
    opacity = params.ring_contrast * ring * rng.uniform(0.7, 1.0) * cover
    return _mix(_mix(image, ORIFICE, hole), colour, opacity)


def _draw_outline(rng: Generator, rough: float, wild: float) -> tuple[Field, Field]:
    """Around the ring, `(TURN_STEPS,)` each: the outline's offset, and a profile, -1 between fronds and 1 on them."""
    turn = np.arange(TURN_STEPS) / TURN_STEPS
    waves = np.arange(2, 14)[:, None]
    phase, height = rng.uniform(0, 1, waves.shape), rng.standard_normal(waves.shape)
    wobble = np.sum(height * np.cos(2 * np.pi * (waves * turn + phase)), axis=0) / np.sqrt(len(waves) / 2)
    num_fronds = rng.integers(6, 12)
    place = (np.arange(num_fronds)[:, None] + rng.normal(0, 0.3, (num_fronds, 1))) / num_fronds
    gap = np.abs((turn - place + 0.5) % 1 - 0.5) * num_fronds / rng.uniform(0.7, 1.5, (num_fronds, 1))
    bumps = np.exp(-((gap / 0.33) ** 2))
    reach = np.max(rng.uniform(0.1, 0.95, (num_fronds, 1)) * bumps, axis=0)
    return (0.02 + 0.13 * rough) * wobble + wild * (reach - 0.2), 2 * np.max(bumps, axis=0) - 1


def _expose(image: Field, params: PhantomParams, udder: Generator, rng: Generator) -> NDArray[np.uint8]:
    """The pixels `(H, W, 3)` of a simulated camera: light, vignette, blur, sensor noise, rounding."""
    size, warmth = params.size_pixels, udder.normal(0.02, 0.04)
    image = image.reshape(3, size, SUPERSAMPLING, size, SUPERSAMPLING).sum(axis=2).sum(axis=3) / SUPERSAMPLING**2
    y, x = _grid(size)
    vignette = 1 - udder.uniform(0, 1) * ((x - 0.5) ** 2 + (y - 0.55) ** 2)
    light = udder.uniform(0.72, 1.12) * rng.uniform(0.92, 1.08) * np.array((1 + warmth, 1.0, 1 - warmth))
    sigma = params.blur_pixels * udder.uniform(0.8, 1.3) * size / 64
    image = ndimage.gaussian_filter(image * vignette * light[:, None, None], (0, sigma, sigma), mode="nearest")
    image = image + params.noise * rng.standard_normal(image.shape)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0).copy()
