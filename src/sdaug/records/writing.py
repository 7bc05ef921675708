"""The folder of all records: a card per generator and per classifier, and the images with their description."""

from pathlib import Path

from sdaug.common.files import fresh_dir, write_text
from sdaug.records.classifier_card import classifier_card
from sdaug.records.finished import Finished, Publication
from sdaug.records.generator_card import generator_card
from sdaug.records.image_set import write_imported, write_synthetic

CARD = "README.md"  # the name by which model hubs find a card


def write_records(target: Path, study: Finished, publication: Publication) -> None:
    """Write the whole folder, or nothing.

    Raises:
        ValueError: an image is no PNG file, or is marked already.
    """
    with fresh_dir(target) as out:
        for generator in study.generators:
            folder = out / "generators" / generator.label / str(generator.draw)
            folder.mkdir(parents=True)
            write_text(folder / CARD, generator_card(study, generator, publication))
        for model, arm in study.recipes:
            folder = out / "classifiers" / f"{model}-{arm}"
            folder.mkdir(parents=True)
            write_text(folder / CARD, classifier_card(study, model, arm, publication))
        write_synthetic(out / "synthetic", study, publication)
        write_imported(out / "imported", study, publication)
