"""Random augmentation of training images, in batches on the device but per image, drawn from one seeded stream."""

import math

import torch
import torch.nn.functional as F

from sdaug.common.device import to_device
from sdaug.train.params import ArmTraining


class Augmentation:
    """The augmentation of an arm, applied before images are resized."""

    def __init__(self, arm: ArmTraining, stream: torch.Generator) -> None:
        self._arm, self._stream = arm, stream

    def change(self, pixels: torch.Tensor) -> torch.Tensor:
        """`(B, 3, H, W)` uint8 -> float32 in [0, 1]: RandAugment, rotation and crop, flips, colour jitter."""
        arm = self._arm
        if arm.randaugment_ops:
            pixels = self._rand_augment(pixels)
        images = pixels.float().div(255.0)
        if arm.rotation_degrees or arm.crop_scale < 1:
            images = self._turn_and_crop(images)
        for is_on, axis in ((arm.flip_horizontal, -1), (arm.flip_vertical, -2)):
            if is_on:
                is_flipped = self._uniform(images, 0.0, 1.0) < 0.5
                images = torch.where(is_flipped, images.flip(axis), images)
        return self._jitter(images)

    def mix(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Images `(B, 3, H, W)` after mixup or cutmix (one at random if both set), and what they are made of.

        That is `(B, B)`: the share of each image of the batch in each mixed one; None if the arm mixes nothing.
        """
        arm = self._arm
        if not arm.mixes:
            return images, None
        from torchvision.transforms import v2  # takes a second, and most arms do not need it

        # torchvision mixes labels as it mixes images: as labels, the places in the batch become the shares.
        places = torch.arange(len(images), device=images.device)
        kinds = [(v2.MixUp, arm.mixup_alpha), (v2.CutMix, arm.cutmix_alpha)]
        mixers = [kind(alpha=alpha, num_classes=len(images)) for kind, alpha in kinds if alpha]
        with self._own_global_stream():
            mixed: tuple[torch.Tensor, torch.Tensor] = mixers[self._integer(len(mixers))](images, places)
        return mixed

    def _rand_augment(self, pixels: torch.Tensor) -> torch.Tensor:
        from torchvision.transforms import v2

        change = v2.RandAugment(self._arm.randaugment_ops, self._arm.randaugment_magnitude)
        with self._own_global_stream():
            return torch.stack([change(image) for image in pixels])

    def _turn_and_crop(self, images: torch.Tensor) -> torch.Tensor:
        """Rotate by up to `rotation_degrees`, then crop a rectangle of at least `crop_scale` of the area.

        The crop has an aspect ratio of 3/4 to 4/3 and is resized to the full image; areas outside the source are black.
        """
        arm = self._arm
        angle = self._uniform(images, -1.0, 1.0).flatten() * math.radians(arm.rotation_degrees)
        width, height = torch.ones_like(angle), torch.ones_like(angle)
        if arm.crop_scale < 1:
            area = self._uniform(images, arm.crop_scale, 1.0).flatten()
            # Uniform in the logarithm, as in torchvision: tall and wide crops are equally likely.
            ratio = self._uniform(images, math.log(3 / 4), math.log(4 / 3)).flatten().exp()
            # The clamp can make the area smaller: of 0.9, the ratio 4/3 leaves 0.82.
            width, height = (area * ratio).sqrt().clamp(max=1.0), (area / ratio).sqrt().clamp(max=1.0)
        left = self._uniform(images, -1.0, 1.0).flatten() * (1.0 - width)
        top = self._uniform(images, -1.0, 1.0).flatten() * (1.0 - height)
        return resample(images, angle=angle, width=width, height=height, left=left, top=top)

    def _jitter(self, images: torch.Tensor) -> torch.Tensor:
        """Brightness, then contrast, then saturation, each by a factor of 1 plus or minus its strength."""
        arm = self._arm
        # Always in this order, while torchvision's ColorJitter shuffles it.
        if arm.brightness:
            images = blend(images, torch.zeros_like(images), self._factor(images, arm.brightness))
        if arm.contrast:
            means = to_grey(images).mean(dim=(-3, -2, -1), keepdim=True)
            images = blend(images, means, self._factor(images, arm.contrast))
        if arm.saturation:
            images = blend(images, to_grey(images), self._factor(images, arm.saturation))
        return images

    def _factor(self, images: torch.Tensor, strength: float) -> torch.Tensor:
        return self._uniform(images, 1.0 - strength, 1.0 + strength)

    def _uniform(self, images: torch.Tensor, low: float, high: float) -> torch.Tensor:
        """One number per image, `(B, 1, 1, 1)`."""
        # Drawn on the CPU, so that a GPU gets the same numbers.
        values = torch.rand(len(images), 1, 1, 1, generator=self._stream) * (high - low) + low
        return to_device(values, images.device)

    def _integer(self, end: int) -> int:
        return int(torch.randint(end, (1,), generator=self._stream))

    def _own_global_stream(self) -> "_Seeded":
        return _Seeded(self._integer(2**62))


class _Seeded:
    """Seeds torch's global stream and restores it on exit, because torchvision draws from no other one."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __enter__(self) -> None:
        self._before = torch.get_rng_state()
        torch.default_generator.manual_seed(self._seed)

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self._before)


def resample(
    images: torch.Tensor,
    *,
    angle: torch.Tensor,
    width: torch.Tensor,
    height: torch.Tensor,
    left: torch.Tensor,
    top: torch.Tensor,
) -> torch.Tensor:
    """Square images `(B, C, H, W)`, rotated counter-clockwise by `angle` radians `(B,)`, then cropped and enlarged.

    `width` and `height` `(B,)` are fractions of a side; `left` and `top` `(B,)` shift the crop from the centre, in
    units of half a side.
    """
    cos, sin = angle.cos(), angle.sin()
    # Maps output to source coordinates: scale and shift, then rotate.
    rows = [
        torch.stack([cos * width, -sin * height, cos * left - sin * top], dim=1),
        torch.stack([sin * width, cos * height, sin * left + cos * top], dim=1),
    ]
    places = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def blend(images: torch.Tensor, others: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """`factor * images + (1 - factor) * others`, clamped to [0, 1]."""
    return (factor * images + (1.0 - factor) * others).clamp(0.0, 1.0)


def to_grey(images: torch.Tensor) -> torch.Tensor:
    """The luma `(B, 1, H, W)` of images `(B, 3, H, W)` (ITU-R BT.601)."""
    red, green, blue = images.split(1, dim=1)
    grey: torch.Tensor = 0.299 * red + 0.587 * green + 0.114 * blue
    return grey
