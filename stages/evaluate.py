"""evaluate: score one trained classifier on the test set."""

import argparse
from pathlib import Path

from sdaug.classify.inference import predict
from sdaug.classify.models import load_model
from sdaug.classify.scores import class_recalls, score
from sdaug.common.device import prepare_device
from sdaug.common.files import write_csv, write_json
from sdaug.common.packed import read_packed
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--metrics", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True)
    args = parser.parse_args()

    # The test photos and the model.
    classes = read_section(args.params, "classes", list[str])
    data = read_packed(args.data, classes)
    # As many threads as in training, since the last digits depend on it.
    num_threads = read_section(args.params, "train.num_threads", int)
    model, card = load_model(args.weights, prepare_device(num_threads))
    if card.classes != classes:
        raise ValueError(
            f"{args.weights}: trained for {card.classes}, but `classes` is {classes}; run `dvc repro train`"
        )
    images, labels = data.part("test")
    probabilities = predict(model, images, card)

    # Scores.
    recalls, counts = class_recalls(probabilities, labels)
    scores = {f"test_{name}": value for name, value in score(probabilities, labels).items()}
    run = {"model": args.model, "dataset": args.dataset, "seed": args.seed}
    by_class = {
        "recall": dict(zip(classes, recalls, strict=True)),
        "num_test": dict(zip(classes, counts, strict=True)),
    }
    write_json(args.metrics, {**run, **scores, **by_class})
    # One row per photo with its group: the report compares arms photo by photo.
    rows = [
        {"id": image_id, "group": group, "label": classes[label]}
        | {f"p_{name}": f"{p:.6f}" for name, p in zip(classes, row, strict=True)}
        for image_id, group, label, row in zip(data.ids, data.groups, labels, probabilities, strict=True)
    ]
    write_csv(args.predictions, rows)


if __name__ == "__main__":
    run_stage(main)
