import math
from typing import Any

import pytest
import torch
from arms import arm_training
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from sdaug.train.augmentation import Augmentation, blend, resample, to_grey

PIXELS = torch.randint(256, (6, 3, 20, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
IMAGES = PIXELS.float() / 255
ONE, NONE = torch.ones(6), torch.zeros(6)


def augmentation(seed: int = 0, **knobs: Any) -> Augmentation:
    return Augmentation(arm_training(**knobs), torch.Generator().manual_seed(seed))


def test_plain_arm_changes_nothing() -> None:
    assert torch.equal(augmentation().change(PIXELS), IMAGES)
    assert augmentation().mix(IMAGES) == (IMAGES, None)


@pytest.mark.parametrize(("knob", "axis"), [("flip_horizontal", -1), ("flip_vertical", -2)])
def test_flip_leaves_an_image_or_mirrors_it(knob: str, axis: int) -> None:
    flips = [augmentation(seed, **{knob: True}).change(PIXELS) for seed in range(20)]
    is_flipped = torch.stack([(batch == IMAGES.flip(axis)).flatten(1).all(dim=1) for batch in flips])
    is_left = torch.stack([(batch == IMAGES).flatten(1).all(dim=1) for batch in flips])
    assert (is_flipped ^ is_left).all()
    assert 0.3 < is_flipped.float().mean() < 0.7


@pytest.mark.parametrize(
    "knobs",
    [
        {"flip_horizontal": True}, {"rotation_degrees": 30.0}, {"crop_scale": 0.3}, {"brightness": 0.5},
        {"contrast": 0.5}, {"saturation": 0.5}, {"randaugment_ops": 2},
    ],
)  # fmt: skip
def test_each_image_has_a_change_of_its_own_that_follows_from_the_seed(knobs: dict[str, Any]) -> None:
    same = PIXELS[:1].expand(16, -1, -1, -1)
    first, again, other = (augmentation(seed, **knobs).change(same) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len({tuple(image.flatten().tolist()) for image in first}) > 1
    assert 0 <= first.min() and first.max() <= 1


@pytest.mark.parametrize("degrees", [-30.0, 10.0, 90.0])
def test_turn_is_that_of_torchvision(degrees: float) -> None:
    ours = resample(IMAGES, angle=ONE * math.radians(degrees), width=ONE, height=ONE, left=NONE, top=NONE)
    wanted = reference.rotate(IMAGES, degrees, interpolation=v2.InterpolationMode.BILINEAR)
    # torchvision's border is sharp, ours is blurred by half a pixel.
    torch.testing.assert_close(ours[..., 4:-4, 4:-4], wanted[..., 4:-4, 4:-4], atol=1e-4, rtol=0)


def test_crop_is_that_of_torchvision() -> None:
    ours = resample(IMAGES, angle=NONE, width=ONE * 0.5, height=ONE * 0.8, left=-ONE * 0.1, top=ONE * 0.2)
    top, left, height, width = 4, 4, 16, 10
    wanted = reference.resized_crop(IMAGES, top, left, height, width, [20, 20], antialias=False)
    torch.testing.assert_close(ours[..., 2:-2, 2:-2], wanted[..., 2:-2, 2:-2], atol=1e-4, rtol=0)


def test_crop_of_everything_is_the_image() -> None:
    torch.testing.assert_close(
        resample(IMAGES, angle=NONE, width=ONE, height=ONE, left=NONE, top=NONE), IMAGES, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("factor", [0.6, 1.3])
def test_colours_change_as_in_torchvision(factor: float) -> None:
    share = torch.full((6, 1, 1, 1), factor)
    means = to_grey(IMAGES).mean(dim=(-3, -2, -1), keepdim=True)
    ours = [blend(IMAGES, other, share) for other in (torch.zeros_like(IMAGES), means, to_grey(IMAGES))]
    changes = (reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation)
    for image, change in zip(ours, changes, strict=True):
        torch.testing.assert_close(image, change(IMAGES, factor), atol=1e-3, rtol=0)


@pytest.mark.parametrize("knob", ["mixup_alpha", "cutmix_alpha"])
def test_shares_of_a_mixed_image_sum_to_one(knob: str) -> None:
    for seed in range(10):
        _, shares = augmentation(seed, **{knob: 1.0}).mix(IMAGES)
        assert shares is not None
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))


def test_shares_of_cutmix_are_shares_of_the_area() -> None:
    flat = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 20, 20)
    for seed in range(10):
        mixed, shares = augmentation(seed, cutmix_alpha=1.0).mix(flat)
        assert shares is not None
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), shares[:, 1])


def test_shares_of_mixup_are_shares_of_the_pixels() -> None:
    flat = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 20, 20)
    mixed, shares = augmentation(3, mixup_alpha=1.0).mix(flat)
    assert shares is not None
    torch.testing.assert_close(mixed[:, 0, 0, 0], shares[:, 1])


@pytest.mark.parametrize("knobs", [{"randaugment_ops": 2}, {"mixup_alpha": 1.0}])
def test_global_stream_is_left_alone(knobs: dict[str, Any]) -> None:
    torch.manual_seed(4)
    changed = augmentation(**knobs)
    changed.mix(changed.change(PIXELS))
    after = torch.rand(1)
    torch.manual_seed(4)
    assert torch.equal(after, torch.rand(1))
