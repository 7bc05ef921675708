"""Training a network's head again, on features in which rare classes are filled up by interpolation."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from torch import nn

from sdaug.classify.inference import predict
from sdaug.classify.models import ModelCard, head_of
from sdaug.classify.scores import score
from sdaug.common.seeding import numpy_stream
from sdaug.train.examples import Images, Labels, TrainingSet
from sdaug.train.selection import Trained

Features = NDArray[np.float64]

NEIGHBOURS = 5  # as in Chawla et al., doi 10.1613/jair.953
MAX_ITERATIONS = 10_000  # far more than it takes to converge: the penalty makes the optimum unique


def retrain_head(
    trained: Trained,
    training: TrainingSet,
    validation: tuple[Images, Labels],
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    title: str,
) -> Trained:
    """The kept epoch with another head, and with the validation scores of that head; the history stays as it was.

    The head is fitted to the network's own features of all training images, with classes of equal size (classifier
    retraining, Kang et al., arXiv 1910.09217, on SMOTE, Chawla et al., doi 10.1613/jair.953).

    Raises:
        ValueError: the head is not one linear layer, or a class has no training image.
    """
    card, model = trained.card, trained.build().to(device)
    head = head_of(model)
    if not isinstance(head, nn.Linear):
        raise ValueError(
            f"params.yaml: datasets: feature_oversampling: {title}: the head of {card.architecture} is "
            f"{type(head).__name__}, need one linear layer; leave the classifier or the arm out"
        )
    counts = np.bincount(training.labels, minlength=len(card.classes))
    if not counts.all():
        raise ValueError(
            f"params.yaml: datasets: feature_oversampling: {title}: no training image of "
            f"{card.classes[int(counts.argmin())]}; each class needs one"
        )
    features, labels = oversample(head_inputs(model, head, training.images, card), training.labels, seed=seed)
    fit_head(head, features, labels)
    predicted = predict(model, validation[0], card, dtype=dtype) if trained.best else trained.predicted
    return replace(
        trained,
        weights={name: tensor.detach().cpu() for name, tensor in model.state_dict().items()},
        best=score(predicted, validation[1]) if trained.best else {},
        predicted=predicted,
        # To the head, all classes were equally common.
        exposure=1.0 / counts[training.labels],
    )


def head_inputs(model: nn.Module, head: nn.Module, images: Images, card: ModelCard) -> Features:
    """What the head of a model gets to see of images `(N, H, W, 3)`: `(N, D)`."""
    parts: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: parts.append(inputs[0].double().cpu()))
    predict(model, images, card)
    hook.remove()
    features: Features = torch.cat(parts).flatten(1).numpy()
    return features


def oversample(features: Features, labels: Labels, *, seed: int) -> tuple[Features, Labels]:
    """Features `(M, D)` and labels `(M,)` with as many of each class as of the largest; the given ones come first.

    A new one lies at a random place between one of the class and one of its nearest neighbours of the class, and each
    of the class is the start of equally many, except for a random remainder. One that is alone is repeated.
    """
    present, counts = np.unique(labels, return_counts=True)
    parts = [features]
    for label, count in zip(present, counts, strict=True):
        members, num_wanted = features[labels == label], int(counts.max() - count)
        stream = numpy_stream(seed, "feature oversampling", str(label))
        starts = np.resize(stream.permutation(count), num_wanted)
        num_neighbours = min(NEIGHBOURS, int(count) - 1)
        if num_neighbours == 0 or num_wanted == 0:
            parts.append(members[starts])
            continue
        # Without an argument, `kneighbors` leaves out each point itself, but not its equals.
        near = NearestNeighbors(n_neighbors=num_neighbours).fit(members).kneighbors(return_distance=False)
        ends = near[starts, stream.integers(0, num_neighbours, num_wanted)]
        parts.append(members[starts] + stream.random((num_wanted, 1)) * (members[ends] - members[starts]))
    return np.concatenate(parts), np.concatenate([labels, np.repeat(present, counts.max() - counts)])


def fit_head(head: nn.Linear, features: Features, labels: Labels) -> None:
    """Replace the head's weights, in place, by those of a logistic regression on standardized features."""
    has_bias = head.bias is not None
    scaler = StandardScaler(with_mean=has_bias).fit(features)
    fitted = LogisticRegression(fit_intercept=has_bias, max_iter=MAX_ITERATIONS)
    fitted.fit(scaler.transform(features), labels)
    slopes, intercepts = fitted.coef_ / scaler.scale_, fitted.intercept_
    if has_bias:
        intercepts = intercepts - slopes @ scaler.mean_
    if len(fitted.classes_) == 2:  # scikit-learn has a single logit, softmax takes the difference of two
        slopes, intercepts = np.concatenate([-slopes, slopes]) / 2, np.concatenate([-intercepts, intercepts]) / 2
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(slopes))
        if has_bias:
            head.bias.copy_(torch.from_numpy(intercepts))
