"""The report's table on whether generated images look like their class."""

from collections.abc import Mapping
from typing import Any

from sdaug.verdict.tables import Table

COLUMNS = {"class_share": "recognized, %", "class_probability": "probability, %", "kid": "KID"}


def fidelity_table(by_class: Mapping[str, Any]) -> Table:
    """The table of the scores per class in `metrics/fidelity.json`, before and after DreamBooth."""
    pairs = [(key, when) for key in COLUMNS for when in ("before", "after")]
    header = ("class", "photos", "images", *(f"{COLUMNS[key]} {when}" for key, when in pairs))
    rows = tuple(
        (
            label,
            str(figures["num_photos"]),
            str(figures["num_images"]),
            *(_text(key, figures[f"{key}_{when}"]) for key, when in pairs),
        )
        for label, figures in by_class.items()
    )
    return Table(
        title="Do generated images look like their class?",
        note=(
            "A classifier judges images of the base model and of the class's generator, both drawn with the class's "
            "prompt. It was trained on real photos that no generator saw (validation and test), both unchanged and as "
            "blurred as the VAE reconstructs them. Recognized: the share of images assigned to the class; probability: "
            "the mean probability of the class; KID: the kernel distance between the classifier's features of the "
            "images and of the class's photos (smaller is closer). A diagnosis only: do not tune by it, since it uses "
            "the test photos."
        ),
        header=header,
        rows=rows,
        num_names=1,
    )


def _text(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if key == "kid" else f"{100 * value:.1f}"
