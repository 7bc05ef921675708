"""The differences on which the verdict rests, as one small table."""

from sdaug.verdict.results import ESTIMATED, PRIMARY, Contrast, Study
from sdaug.verdict.statistics import CONFIDENCE
from sdaug.verdict.tables import Table, signed


def pooled_table(study: Study) -> Table:
    """A row for each pair of arms: the mean difference over the pooled models, by metric."""

    def cells(contrast: Contrast) -> tuple[str, ...]:
        primary = contrast.mean[PRIMARY]
        detectable = f"{100 * primary.detectable:.1f}" if primary.is_known else ""
        return f"{contrast.arm} - {contrast.against}", *(signed(contrast.mean[m]) for m in ESTIMATED), detectable

    return Table(
        title="Mean differences between arms",
        note=f"Points on the test set, over the models {', '.join(study.pooled)}; in brackets the {CONFIDENCE:.0%} "
        "confidence interval, where it is known. Detectable: a true effect on balanced accuracy of this size would be "
        "found by four of five such studies.",
        header=("arms", "balanced accuracy", "accuracy", "accuracy at test prior", "detectable"),
        rows=tuple(map(cells, study.answers)),
        num_names=1,
    )
