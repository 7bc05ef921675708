"""Records of what is not the study's own work alone: transductive classifiers, and images from elsewhere."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import numpy as np
import pytest
import rdflib
import yaml
from huggingface_hub import ModelCard
from PIL import Image
from studies import PARAMS, write_image, write_letter
from test_records import NUM_IMAGES, OPTIONS, PROV, SCHEMA, write_finished
from test_results import DATASETS, MODELS

from sdaug.common.external_images import ExternalImage, external_id, write_external
from sdaug.common.images import read_png
from sdaug.common.sections import read_params
from sdaug.external.settings import TABLE
from sdaug.records.marking import mark_of_imported
from sdaug.run.cli import main
from sdaug.verdict.external_summary import External, ExternalSource

SEEN, OTHERS = MODELS[-1], MODELS[:-1]
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
NO_SETTINGS = {"tool": "", "prompt": "", "negative_prompt": "", "seed": "", "model": ""}


def an_image(number: int, source: str = "flux", **settings: str) -> ExternalImage:
    label = "score_1" if number % 2 else "score_3"
    found = {"id": external_id(source, f"{number:08x}"), "label": label, "original": f"{label}/{number} é.webp"}
    return ExternalImage(source=source, **found, **NO_SETTINGS | settings)


IMPORTED = [
    an_image(1, tool="ComfyUI", prompt="a <b> & c", negative_prompt="text", seed=str(2**64 - 1), model="flux 1"),
    an_image(2, tool=TABLE, model="flux 1"),
    an_image(3),
    an_image(4, source="pencil", tool="a pencil"),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished study with a transductive classifier and images of two sources, and its records."""
    root = tmp_path_factory.mktemp("others")
    write_finished(root)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["classifiers"][SEEN]["method"] = "sctl"
    params["sctl"] = read_params(PARAMS)["sctl"]
    params["external"] = {"flux": {"folder": "data/external/flux"}, "pencil": {"folder": "/home/someone/pencil"}}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for n, image in enumerate(IMPORTED):
        write_image(root / "data/imported" / image.file_name, 7, n)
    write_external(root / "data/imported", IMPORTED)
    known = {"num_images": {"score_1": 2, "score_3": 1}, "num_duplicates": 5, "num_with_settings": 2}
    sources = {
        "flux": ExternalSource(seen="training", models=["flux 1"], **known),
        "pencil": ExternalSource(seen="none", models=[], **known),
    }
    write_letter(root / "metrics", External(sources=sources, used={}))
    stages = {"external": {"deps": [{"path": "data/external/flux", "md5": "89ab.dir"}]}}
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        main(["records", *OPTIONS])
    return root


@pytest.mark.parametrize("arm", DATASETS)
def test_card_of_a_transductive_classifier_says_so_before_all_else(study: Path, arm: str) -> None:
    card = ModelCard.load(study / f"records/classifiers/{SEEN}-{arm}/README.md")
    assert card.text.strip().splitlines()[2].startswith("> **Transductive.** This classifier learned from the ")
    assert "| learning from test photos | SCTL-style" in card.text and "How good it is on new photos" in card.text
    assert "test photos without labels." in card.text.split("## Training Details")[1]
    data = card.data.to_dict()
    assert "transductive" in data["tags"]
    assert not data.keys() & {"model-index", "metrics", "model_name"}  # hubs show scores without what is said of them


@pytest.mark.parametrize("model", OTHERS)
def test_cards_of_the_others_have_their_scores_and_no_such_words(study: Path, model: str) -> None:
    card = ModelCard.load(study / f"records/classifiers/{model}-{DATASETS[0]}/README.md")
    assert "**Transductive.**" not in card.text and "without labels" not in card.text
    assert "transductive" not in card.data.tags and card.data.eval_results


def records_of(folder: Path) -> dict[str, dict[str, Any]]:
    """All records of images by file, with text for bytes."""
    dataset = mlc.Dataset(folder / "croissant.json")
    assert dataset.metadata.ctx.issues.errors == set()
    found = [
        {key.split("/")[1]: value.decode() if isinstance(value, bytes) else value for key, value in record.items()}
        for record in dataset.records("images")
    ]
    assert len({record["file"] for record in found}) == len(found)
    return {record["file"]: record for record in found}


def test_every_image_from_elsewhere_is_a_record_with_what_it_declares(study: Path) -> None:
    folder = study / "records/imported/flux"
    records = records_of(folder)
    images = {f"{image.label}/{Path(image.file_name).name}": image for image in IMPORTED if image.source == "flux"}
    assert records.keys() == images.keys() and len(records) == 3
    for file, record in records.items():
        content = (folder / file).read_bytes()
        assert record["class"] == images[file].label and record["original"] == images[file].original
        assert record["sha256"] == hashlib.sha256(content).hexdigest()
        assert np.array_equal(np.asarray(record["image"]), read_png(study / "data/imported" / images[file].file_name))
    rows = {record["id"]: record for record in records.values()}
    first, second, third = (rows[image.id] for image in IMPORTED[:3])
    assert (first["prompt"], first["tool"]) == ("a <b> & c", "ComfyUI, model flux 1")
    assert "seed 18446744073709551615" in first["settings"]  # 64 bits, none of them lost
    assert (second["tool"], second["source_type"]) == ("model flux 1", "trainedAlgorithmicMedia")
    assert not any(third[key] for key in ("prompt", "settings", "tool", "source_type"))


def said_by(path: Path) -> dict[str, Any]:
    with Image.open(path) as image:
        found: dict[str, Any] = image.getxmp()
    return found["xmpmeta"]["RDF"]["Description"] if found else {}


def test_marks_of_images_from_elsewhere_name_their_own_tool_or_none(study: Path) -> None:
    marks = [
        said_by(study / "records/imported" / image.source / image.label / Path(image.file_name).name)
        for image in IMPORTED
    ]
    assert marks[0]["DigitalSourceType"] == TRAINED and marks[0]["AISystemUsed"] == "ComfyUI, model flux 1"
    assert marks[0]["AIPromptInformation"] == "a <b> & c (not: text)"
    assert marks[1]["DigitalSourceType"] == TRAINED and "AIPromptInformation" not in marks[1]
    assert marks[2] == {}  # nothing says how it was made
    assert mark_of_imported(IMPORTED[3]).source_type == ""  # a pencil
    assert not any("sdaug" in str(mark) or "Stable Diffusion" in str(mark) for mark in marks)


def test_provenance_of_images_from_elsewhere_has_no_generator_base_or_photo_of_the_study(study: Path) -> None:
    path = study / "records/imported/flux/croissant.json"
    graph = rdflib.Graph().parse(path, format="json-ld", publicID="http://a/b")
    (data,) = graph.subjects(rdflib.RDF.type, SCHEMA.Dataset)
    (derived,) = graph.objects(data, PROV.wasDerivedFrom)
    assert [str(value) for value in graph.objects(derived, SCHEMA.identifier)] == [
        "dvc:md5:89ab.dir (data/external/flux)"
    ]
    tools = {str(next(graph.objects(tool, PROV.label))) for tool in graph.objects(data, PROV.wasAttributedTo)}
    assert {tool.split(", as ")[0] for tool in tools} == {"ComfyUI, model flux 1", "model flux 1"}
    text = path.read_text()
    assert "models/dreambooth" not in text and "models/base" not in text and "Stable Diffusion" not in text
    description = json.loads(text)
    assert "license" not in description and "creator" not in description
    assert "training photos alone" in description["rai:dataBiases"]
    assert "someone" not in (study / "records/imported/pencil/croissant.json").read_text()


def test_images_from_elsewhere_are_not_among_those_of_the_study(study: Path) -> None:
    files = records_of(study / "records/synthetic")
    assert len(files) == NUM_IMAGES and all(Path(file).name.startswith("seed_") for file in files)
