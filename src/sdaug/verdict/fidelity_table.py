"""The table that says whether generated images look like their class."""

from collections.abc import Mapping
from typing import Any

from sdaug.verdict.page import Table

COLUMNS = {"class_share": "taken for it, %", "class_probability": "probability, %", "kid": "KID"}


def fidelity_table(by_class: Mapping[str, Any]) -> Table:
    """The figures of each class in `metrics/fidelity.json`, before DreamBooth and after."""
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
        title="Do generated images look like their class",
        note=(
            "A classifier trained on real photos that no generator saw (validation and test), as they are and as soft "
            "as the VAE returns them, looks at images of the base and of the class's generator, both drawn for the "
            "class's prompt: the share that it takes for the class, the probability it gives the class, and the "
            "kernel distance of its features to the class's photos (smaller is nearer). A diagnosis, not to be tuned "
            "by: the test photos are in it."
        ),
        header=header,
        rows=rows,
        num_names=1,
    )


def _text(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if key == "kid" else f"{100 * value:.1f}"
