"""Feature oversampling: what lies between which features, and a head that is trained again on them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from arms import arm_training
from sklearn.linear_model import LogisticRegression
from test_training import HELD_OUT, IMAGES, NOTHING, is_same, train
from torch import nn

from sdaug.classify.inference import predict
from sdaug.classify.models import create_network, head_of
from sdaug.classify.scores import score
from sdaug.train.examples import photos_alone
from sdaug.train.head import fit_head, head_inputs, oversample

FEATURES = np.random.default_rng(3).normal(size=(20, 4))
LABELS = np.array([0] * 12 + [1] * 7 + [2])
RARE = np.array([0] * 9 + [1] * 3 + [2])
ARM = arm_training(feature_oversampling=True)


def test_every_class_is_filled_up_to_the_largest_and_nothing_given_is_lost() -> None:
    features, labels = oversample(FEATURES, LABELS, seed=0)
    assert np.bincount(labels).tolist() == [12, 12, 12]
    assert np.array_equal(features[:20], FEATURES) and np.array_equal(labels[:20], LABELS)


def test_new_features_lie_between_a_photo_and_a_near_one_of_its_class() -> None:
    features, labels = oversample(FEATURES, LABELS, seed=0)
    members = FEATURES[LABELS == 1]
    distances = np.linalg.norm(members[:, None] - members, axis=2)
    pairs = [(a, b) for a in range(7) for b in distances[a].argsort()[1:6]]
    for made in features[20:][labels[20:] == 1]:
        detours = [np.linalg.norm(made - members[a]) + np.linalg.norm(made - members[b]) for a, b in pairs]
        lengths = [distances[a, b] for a, b in pairs]
        assert np.min(np.subtract(detours, lengths)) == pytest.approx(0.0, abs=1e-9)


def test_a_photo_that_is_alone_in_its_class_is_repeated() -> None:
    features, labels = oversample(FEATURES, LABELS, seed=0)
    assert np.array_equal(features[labels == 2], np.repeat(FEATURES[-1:], 12, axis=0))


def test_new_features_follow_from_the_seed() -> None:
    first, again, other = (oversample(FEATURES, LABELS, seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_head_gives_the_probabilities_of_a_logistic_regression(num_classes: int) -> None:
    features, labels = FEATURES, np.arange(20) % num_classes
    head = nn.Linear(4, num_classes)
    fit_head(head, features, labels)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    wanted = LogisticRegression(max_iter=1000).fit(scaled, labels).predict_proba(scaled)
    found = head(torch.from_numpy(features).float()).softmax(dim=1).detach().numpy()
    assert found == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("architecture", "options", "size"),
    [
        ("custom", {}, 16),
        ("resnet18", {}, 32),
        ("vgg11", {"mlp_ratio": 0.03125}, 32),
        ("inception_v3", {}, 75),
        ("vit_tiny_r_s16_p8_224", {"img_size": 32, "patch_size": 2, "depth": 1}, 32),
    ],
)
def test_head_of_every_network_sees_one_row_per_image(architecture: str, options: dict[str, Any], size: int) -> None:
    model, card = create_network(architecture, 3, options).eval(), replace(train(epochs=1).card, image_size=size)
    head = head_of(model)
    assert isinstance(head, nn.Linear)
    features = head_inputs(model, head, IMAGES[:3], card)
    probabilities = head(torch.from_numpy(features).float()).softmax(dim=1).detach().numpy()
    assert features.shape == (3, head.in_features)
    assert probabilities == pytest.approx(predict(model, IMAGES[:3], card), abs=1e-5)


def test_only_the_head_changes_and_the_kept_scores_are_its_own() -> None:
    data = photos_alone(IMAGES, RARE)
    plain, balanced = (train(arm=arm, data=data) for arm in (arm_training(), ARM))
    changed = [name for name in plain.weights if not torch.equal(plain.weights[name], balanced.weights[name])]
    assert sorted(changed) == ["head.bias", "head.weight"]
    assert (plain.history, plain.best_epoch) == (balanced.history, balanced.best_epoch)
    predicted = predict(balanced.build(), HELD_OUT[0], balanced.card)
    assert balanced.predicted == pytest.approx(predicted) and balanced.best == score(balanced.predicted, HELD_OUT[1])
    assert balanced.best != plain.best


def test_same_seed_gives_the_same_head() -> None:
    data = photos_alone(IMAGES, RARE)
    first, again = (train(arm=ARM, data=data, epochs=1) for _ in range(2))
    assert is_same(first, again)


def test_classes_were_equally_common_to_the_head() -> None:
    trained = train(arm=ARM, data=photos_alone(IMAGES, RARE), epochs=1)
    assert np.bincount(RARE, weights=trained.exposure) == pytest.approx([1.0, 1.0, 1.0])


def test_head_is_trained_again_without_validation() -> None:
    trained = train(arm=ARM, data=photos_alone(IMAGES, RARE), validation=NOTHING, epochs=1)
    assert trained.best == {} and len(trained.predicted) == 0


def test_class_without_an_image_is_named() -> None:
    with pytest.raises(ValueError, match="feature_oversampling: small: no training image of c; each class needs one"):
        train(arm=ARM, data=photos_alone(IMAGES, RARE % 2), epochs=1)
