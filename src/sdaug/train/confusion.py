"""Plot of the confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import ConfusionMatrixDisplay


def draw_confusion(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[str]
) -> Image.Image:
    """An RGB plot of the confusion matrix of probabilities `(N, K)`, normalised over each true class."""
    figure = Figure(figsize=(4.5, 4.0), layout="constrained")
    # Agg needs no display and, unlike pyplot, no figure stays in memory.
    canvas = FigureCanvasAgg(figure)
    ConfusionMatrixDisplay.from_predictions(
        labels,
        probabilities.argmax(axis=1),
        labels=np.arange(len(classes)),
        display_labels=list(classes),
        normalize="true",
        xticks_rotation=45,
        values_format=".2f",
        cmap="Blues",
        colorbar=False,
        ax=figure.subplots(),
    )
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
