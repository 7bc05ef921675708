"""evaluate: score one classifier on the test set, as trained with each of its seeds."""

import _source  # noqa: F401

import argparse
from pathlib import Path
from typing import Any

from sdaug.classify.inference import predict
from sdaug.classify.models import load_model
from sdaug.classify.scores import class_areas, class_recalls, further_scores, score
from sdaug.common.device import prepare_device
from sdaug.common.files import fresh_dir, write_csv, write_json
from sdaug.common.packed import Packed, read_packed
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder of weights, with a folder per seed")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True, help="folder for a JSON file per seed")
    parser.add_argument("--predictions", type=Path, required=True, help="folder for a CSV file per seed")
    args = parser.parse_args()

    classes = read_section(args.params, "classes", list[str])
    # As many threads as in training, since the last digits depend on it.
    num_threads = read_section(args.params, "train.num_threads", int)
    data = read_packed(args.data, classes)
    with fresh_dir(args.metrics) as metrics_dir, fresh_dir(args.predictions) as predictions_dir:
        for seed in sorted(int(folder.name) for folder in args.weights.iterdir()):
            scores, rows = evaluate(args.weights / str(seed), data, classes, num_threads=num_threads)
            run = {"model": args.model, "dataset": args.dataset, "seed": seed}
            write_json(metrics_dir / f"{seed}.json", {**run, **scores})
            write_csv(predictions_dir / f"{seed}.csv", rows)


def evaluate(
    weights: Path, data: Packed, classes: list[str], *, num_threads: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The test scores of one trained model, and its probabilities in one row per photo.

    Raises:
        ValueError: the model was trained for other classes.
    """
    model, card = load_model(weights, prepare_device(num_threads))
    if card.classes != classes:
        raise ValueError(f"{weights}: trained for {card.classes}, but `classes` is {classes}; run `dvc repro train`")
    images, labels = data.part("test")
    probabilities = predict(model, images, card)
    recalls, counts = class_recalls(probabilities, labels)
    found = score(probabilities, labels) | further_scores(probabilities, labels)
    scores = {f"test_{name}": value for name, value in found.items()}
    by_class = {
        "recall": dict(zip(classes, recalls, strict=True)),
        "auroc": dict(zip(classes, class_areas(probabilities, labels), strict=True)),
        "num_test": dict(zip(classes, counts, strict=True)),
    }
    # With its group, since the report compares arms photo by photo and group by group.
    rows = [
        {"id": image_id, "group": group, "label": classes[label]}
        | {f"p_{name}": f"{p:.6f}" for name, p in zip(classes, row, strict=True)}
        for image_id, group, label, row in zip(data.ids, data.groups, labels, probabilities, strict=True)
    ]
    return scores | by_class, rows


if __name__ == "__main__":
    run_stage(main)
