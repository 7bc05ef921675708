"""Training one classifier on one data set: the best epoch by validation, every image counted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from sdaug.classify.inference import predict, to_batch
from sdaug.classify.losses import focal_loss
from sdaug.classify.models import ModelCard, build_model, create_network
from sdaug.classify.recipe import Recipe
from sdaug.classify.scores import score
from sdaug.device import check_finite, torch_stream
from sdaug.progress import progress
from sdaug.seeding import derive_seed

AUXILIARY_WEIGHT = 0.4  # Szegedy et al., arXiv 1512.00567, leave it open; torchvision's reference training takes 0.4

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The weights of the best epoch, its scores and probabilities on validation, and every epoch's row of history."""

    weights: Mapping[str, torch.Tensor]
    card: ModelCard
    best_epoch: int
    best: dict[str, float]
    predicted: NDArray[np.float64] = field(repr=False)
    history: list[dict[str, float]] = field(repr=False)

    def build(self) -> nn.Module:
        """The trained model, in evaluation mode on the CPU."""
        model = create_network(self.card.architecture, len(self.card.classes), self.card.options)
        model.load_state_dict(self.weights)
        return model.to(memory_format=torch.channels_last).eval()


def build_loss(name: str, *, focal_gamma: float) -> Loss:
    """The loss that an arm names."""
    if name == "focal":
        return lambda logits, labels: focal_loss(logits, labels, gamma=focal_gamma)
    return F.cross_entropy


def train_classifier(
    training: tuple[Images, Labels],
    validation: tuple[Images, Labels],
    classes: list[str],
    *,
    recipe: Recipe,
    loss: Loss,
    selection: str,
    seed: int,
    device: torch.device,
    report: Callable[[int, Mapping[str, float]], None] | None = None,
    title: str = "epochs",
) -> Trained:
    """Train on `(N, H, W, 3)` images, keep the epoch that validates best."""
    images, labels = training
    if recipe.batch_size > len(images):
        raise ValueError(
            f"params.yaml: classifiers: batch_size: {recipe.batch_size}; there are {len(images)} training images"
        )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, "initialisation"))
        model, card = build_model(recipe, classes)
        model = model.to(device).to(memory_format=torch.channels_last)
        torch.manual_seed(derive_seed(seed, "dropout"))
        optimizer = build_optimizer(model, recipe)
        schedule = build_schedule(optimizer, recipe, num_batches=count_batches(len(images), recipe.batch_size))
        order = torch_stream(derive_seed(seed, "order"))
        flips = torch_stream(derive_seed(seed, "flips"))
        best: Trained | None = None
        history: list[dict[str, float]] = []
        for epoch in progress(range(1, recipe.epochs + 1), title=title, total=recipe.epochs, unit="epoch"):
            batches = epoch_batches(len(images), recipe.batch_size, order)
            train_loss = train_epoch(
                model,
                images,
                labels,
                batches,
                card,
                recipe,
                loss,
                optimizer,
                schedule,
                flips,
                where=f"{title}: epoch {epoch}",
            )
            predicted = predict(model, validation[0], card)
            if not np.isfinite(predicted).all():
                raise ValueError(f"{title}: epoch {epoch}: the predictions are not finite; lower the learning rate")
            scores = score(predicted, validation[1])
            row = {"train_loss": train_loss, **{f"validation_{name}": value for name, value in scores.items()}}
            history.append({"epoch": epoch, **row})
            if report is not None:
                report(epoch, row)
            if best is None or rank(scores, selection) > rank(best.best, selection):
                weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
                best = Trained(
                    weights=weights, card=card, best_epoch=epoch, best=scores, predicted=predicted, history=history
                )
    assert best is not None
    return best


def rank(scores: Mapping[str, float], selection: str) -> tuple[float, float]:
    """What makes one epoch better than another; ties go to the lower validation loss."""
    return -scores["loss"] if selection == "loss" else scores[selection], -scores["loss"]


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum, or Adam, over all weights."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    return torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)


def build_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, *, num_batches: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate over all steps: as it is, or falling along a cosine to zero."""
    if recipe.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.epochs * num_batches)


def train_epoch(
    model: nn.Module,
    images: Images,
    labels: Labels,
    batches: list[torch.Tensor],
    card: ModelCard,
    recipe: Recipe,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    flips: torch.Generator,
    *,
    where: str,
) -> float:
    """One pass over all batches; the mean loss an image."""
    device = next(model.parameters()).device
    model.train()
    total = 0.0
    for chosen in batches:
        batch = to_batch(images[chosen.numpy()], card, device)
        if recipe.flip_horizontal:
            is_flipped = (torch.rand(len(batch), generator=flips) < 0.5).to(device)
            batch = torch.where(is_flipped[:, None, None, None], batch.flip(-1), batch)
        targets = torch.from_numpy(labels[chosen.numpy()]).to(device)
        value = combined_loss(model(batch), targets, loss)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        total += check_finite(value, where=where) * len(batch)
    return total / len(images)


def count_batches(num_images: int, batch_size: int) -> int:
    """How many batches `epoch_batches` makes."""
    whole, rest = divmod(num_images, batch_size)
    return max(1, whole + (rest > 1))


def epoch_batches(num_images: int, batch_size: int, order: torch.Generator) -> list[torch.Tensor]:
    """Every image once; a last batch of one image joins the one before, since batch norm needs two."""
    batches = list(torch.randperm(num_images, generator=order).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def combined_loss(
    output: torch.Tensor | tuple[torch.Tensor, torch.Tensor], targets: torch.Tensor, loss: Loss
) -> torch.Tensor:
    """The loss, with that of an auxiliary head where the model has one."""
    if isinstance(output, torch.Tensor):
        return loss(output, targets)
    logits, auxiliary = output
    return loss(logits, targets) + AUXILIARY_WEIGHT * loss(auxiliary, targets)
