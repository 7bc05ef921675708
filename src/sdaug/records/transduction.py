"""What the card of a transductive classifier says: it learned from the photos that its scores are of."""

from sdaug.train.params import SctlParams
from sdaug.verdict.number_formats import plural


def notice(num_test: int, settings: SctlParams | None) -> str:
    """A paragraph that comes before all else in the card; empty for other classifiers."""
    if settings is None:
        return ""
    return (
        f"> **Transductive.** This classifier learned from the {plural(num_test, 'test photo')} too, without their "
        "labels. Its scores are of these very photos: they say nothing of new ones, and are not to be compared with "
        "those of classifiers that saw no test photo. They are not in the metadata of this card."
    )


def describe_losses(settings: SctlParams) -> str:
    """How it learned from photos without labels, in a cell of a table."""
    rounds = ", ".join(
        f"{threshold:g} from {start:.0%} of the steps"
        for threshold, start in zip(settings.thresholds, settings.starts, strict=True)
    )
    return (
        "SCTL-style, after doi 10.3390/ani12070886: cross entropy of pseudo labels (weight "
        f"{settings.pseudo_label_weight:g}), similarity of classes ({settings.separation_weight:g}), discrepancy of "
        f"training and test features ({settings.discrepancy_weight:g}); pseudo labels above a probability of {rounds}"
    )
