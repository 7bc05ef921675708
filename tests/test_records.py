"""Records of a finished study: model cards, marked copies of its images and their description; no network is asked."""

import hashlib
import json
import re
import shutil
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import numpy as np
import pytest
import rdflib
import yaml
from huggingface_hub import ModelCard
from PIL import Image
from sklearn.metrics import balanced_accuracy_score
from studies import MISSING, PARAMS, write_study
from test_results import CLASSES, DATASETS, LABELS, MODELS, SEEDS, predict
from test_sampling import FROM_NOISE

from sdaug.common.images import read_png
from sdaug.common.manifest import Photo
from sdaug.common.provenance import write_record
from sdaug.common.sections import read_params
from sdaug.common.synthetic import PLAIN, SyntheticImage, read_synthetic, write_synthetic
from sdaug.records.markdown import code, plain, table
from sdaug.records.marking import Mark, mark_of_ours, mark_png
from sdaug.run.cli import main

NAME = 'a"b: c | `d` <e>\n---\n{{ f }}'
PROMPT = "photo of 'a\"b: c' | ``` {{ 7 * 7 }} # é & <e>"
SEEN = [Photo(id=f"train{n:03}", label="a", group="a", split="train", fold=1, sha256=f"{n:064x}") for n in range(4)]
PROV, SCHEMA = rdflib.Namespace("http://www.w3.org/ns/prov#"), rdflib.Namespace("https://schema.org/")
OPTIONS = ["--licence", "mit", "--creator", 'x "y": z', "--date", "2026-11-28"]
NUM_IMAGES = 2 * sum(MISSING.values())


def write_finished(root: Path) -> None:
    """A study of a few images in the folders of dvc.yaml, one class of which has a hostile name and prompt."""
    write_study(root)
    (root / "data").mkdir()
    (root / "pretrained" / "small").mkdir(parents=True)
    for name in ("prepared", "synthetic", "imported", "steps"):
        shutil.move(root / name, root / "data" / name)
    for label in MISSING:
        folder = root / "data" / "synthetic" / label
        write_synthetic(folder, [replace(image, prompt=PROMPT) for image in read_synthetic(folder)])
        for draw in SEEDS:
            generator = root / "models" / "dreambooth" / label / str(draw)
            generator.mkdir(parents=True)
            write_record(generator, SEEN)
    params = yaml.safe_load((root / "params.yaml").read_text())
    whole = read_params(PARAMS)
    params |= {key: whole[key] for key in ("base", "class_images", "dreambooth", "recipe", "synthesize")}
    params["prepare"] |= {"class_names": {"score_1": NAME}, "size_pixels": 16}
    params["classifiers"] = {model: {"architecture": "resnet18"} for model in MODELS}
    params["concepts"] = {label: {"instance_prompt": PROMPT} for label in MISSING}
    params["generator_seeds"] = list(SEEDS)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    outs = [{"path": "data/prepared", "md5": "0123.dir"}, {"path": "models/dreambooth/score_1", "md5": "4567.dir"}]
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"a": {"cmd": "x", "outs": outs}}}))


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refuse(*_: Any) -> None:
    raise AssertionError("asked a network")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished study with its records; no test of this file may open a connection."""
    root = tmp_path_factory.mktemp("study")
    write_finished(root)
    before = files_of(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.chdir(root)
        main(["records", *OPTIONS])
        after = files_of(root)
        assert {name: after[name] for name in before} == before  # the study itself has not moved
        assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"records"}
        yield root


def test_there_is_a_card_for_each_generator_and_each_classifier(study: Path) -> None:
    cards = {path.parent.relative_to(study / "records").as_posix() for path in (study / "records").rglob("README.md")}
    generators = {f"generators/{label}/{draw}" for label in MISSING for draw in SEEDS}
    assert cards == generators | {f"classifiers/{model}-{arm}" for model in MODELS for arm in DATASETS}


def test_card_of_a_generator_says_what_it_is_and_what_it_has_seen(study: Path) -> None:
    card = ModelCard.load(study / "records/generators/score_1/1/README.md")
    data = card.data.to_dict()
    assert data["instance_prompt"] == PROMPT and data["pipeline_tag"] == "text-to-image"
    assert data["library_name"] == "diffusers" and data["license"] == "mit"
    assert "base_model" not in data  # pretrained/small is a folder, not a model of the hub
    assert "9 drawings; none of this study" in card.text and "on 4 photos of one class" in card.text
    assert "md5:4567.dir" in card.text and "49" not in card.text.split("## Training")[0]  # {{ 7 * 7 }} is not run
    (row,) = [line for line in card.text.splitlines() if line.startswith("| recognized, draw 1, %")]
    assert row.endswith("| 75.0 |")
    snippet = card.text.split("```python\n")[1].split("\n```\n")[0]
    compile(snippet, "snippet", "exec")
    assert f"pipeline({PROMPT!r}" in snippet


def test_base_of_the_hub_is_named_as_such_and_all_else_has_the_same_bytes_again(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "study", ignore=shutil.ignore_patterns("records"))
    params = tmp_path / "study" / "params.yaml"
    params.write_text(params.read_text().replace("model: pretrained/small", "model: some/base"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "study")
        main(["records", *OPTIONS, "--out", "elsewhere"])
    first, second = files_of(study / "records"), files_of(tmp_path / "study" / "elsewhere")
    assert first.keys() == second.keys()
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {name for name in first if name.startswith("generators/")} | {"synthetic/croissant.json"}
    card = ModelCard.load(tmp_path / "study" / "elsewhere/generators/score_3/0/README.md")
    assert card.data.base_model == "some/base"


@pytest.mark.parametrize("arm", DATASETS)
def test_card_of_a_classifier_has_the_scores_of_scikit_learn(study: Path, arm: str) -> None:
    card = ModelCard.load(study / f"records/classifiers/tiny-{arm}/README.md")
    runs = [predict(MODELS.index("tiny"), DATASETS.index(arm), seed).argmax(axis=1) for seed in SEEDS]
    expected = np.mean([balanced_accuracy_score(LABELS, predicted) for predicted in runs])
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found["balanced_accuracy"] == pytest.approx(expected, abs=1e-4)
    assert f"| balanced accuracy, % | {100 * expected:.1f}" in card.text
    assert card.data.tags == ["image-classification", "resnet18"] and card.data.library_name == "timm"
    confusion = card.text.split("### Confusion")[1].strip().splitlines()[-len(CLASSES) :]
    assert [int(line.split("|")[-3]) for line in confusion[1:]] == [
        sum(int(((LABELS == k) & (predicted == 1)).sum()) for predicted in runs) for k in (1, 2)
    ]
    assert NAME.split("\n")[0].replace("|", "\\|") in card.text


def test_description_is_valid_and_loads_every_image(study: Path) -> None:
    folder = study / "records" / "synthetic"
    dataset = mlc.Dataset(folder / "croissant.json")
    assert dataset.metadata.ctx.issues.errors == set()
    assert dataset.metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"
    records = list(dataset.records("images"))
    assert len(records) == NUM_IMAGES
    for record in records:
        file, label = record["images/file"].decode(), record["images/class"].decode()
        original = study / "data" / "synthetic" / file
        assert label == Path(file).parent.name and record["images/prompt"].decode() == PROMPT
        assert np.array_equal(np.asarray(record["images/image"]), read_png(original))
        assert record["images/sha256"].decode() == hashlib.sha256((folder / file).read_bytes()).hexdigest()
        assert record["images/study_sha256"].decode() == hashlib.sha256(original.read_bytes()).hexdigest()
        assert (study / record["images/generator"].decode() / "photos.csv").is_file()
    names = {record["classes/id"]: record["classes/name"] for record in dataset.records("classes")}
    assert names == {"score_1": NAME, "score_3": "score_3"}


def test_table_that_was_edited_is_refused(study: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(study / "records" / "synthetic", tmp_path / "synthetic")
    with (folder / "images.csv").open("a") as stream:
        stream.write("\n")
    with pytest.raises(mlc.GenerationError) as refused:
        list(mlc.Dataset(folder / "croissant.json").records("images"))
    assert "not identical" in str(refused.value.__cause__)


def test_description_tells_what_the_images_are_derived_from(study: Path) -> None:
    path = study / "records" / "synthetic" / "croissant.json"
    graph = rdflib.Graph().parse(path, format="json-ld", publicID="http://a/b")
    (data,) = graph.subjects(rdflib.RDF.type, SCHEMA.Dataset)
    derived = set(graph.objects(data, PROV.wasDerivedFrom))
    hashes = {str(value) for node in derived for value in graph.objects(node, SCHEMA.sha256)}
    assert hashes == {hashlib.sha256((study / "data/prepared/manifest.csv").read_bytes()).hexdigest()}
    (activity,) = graph.objects(data, PROV.wasGeneratedBy)
    assert (activity, rdflib.RDF.type, PROV.Activity) in graph
    used = set(graph.objects(activity, PROV.used))
    generators = {node for node in used if set(graph.objects(node, PROV.wasDerivedFrom)) == derived}
    assert len(generators) == len(MISSING) * len(SEEDS)
    description = json.loads(path.read_text())
    assert "score_3 62.5 %" in description["rai:dataLimitations"][0] and description["license"] == "mit"


def chunks(content: bytes) -> list[bytes]:
    """The chunks of a PNG file, whole."""
    found, start = [], 8
    while start < len(content):
        (length,) = struct.unpack(">I", content[start : start + 4])
        found.append(content[start : start + 12 + length])
        start += 12 + length
    return found


def test_copies_are_marked_and_are_otherwise_the_same_files(study: Path) -> None:
    paths = sorted((study / "data" / "synthetic").rglob("*.png"))
    assert len(paths) == NUM_IMAGES
    for path in paths:
        copy = study / "records" / "synthetic" / path.relative_to(study / "data" / "synthetic")
        before, after = chunks(path.read_bytes()), chunks(copy.read_bytes())
        assert after[0] == before[0] and after[2:] == before[1:] and after[1][4:8] == b"iTXt"
        with Image.open(copy) as image:
            image.verify()  # checksums of chunks
        with Image.open(copy) as image:
            said = image.getxmp()["xmpmeta"]["RDF"]["Description"]
        assert said["DigitalSourceType"].endswith("/digitalsourcetype/trainedAlgorithmicMedia")
        assert said["AIPromptInformation"] == PROMPT


def an_image(**changes: Any) -> SyntheticImage:
    image = SyntheticImage(
        label="a", draw=0, variant=PLAIN, photo="", seed=1, prompt="a\x00b", height=8, width=8, drawing=FROM_NOISE
    )
    return replace(image, **changes)


def test_image_with_something_of_a_photo_is_a_composite() -> None:
    near = replace(FROM_NOISE, start="photo", strength=0.5)
    images = an_image(), an_image(photo="x", drawing=near), an_image(photo="x", drawing=replace(near, strength=1.0))
    trained, composite = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
    assert [mark_of_ours(image).source_type for image in images] == [trained, composite, trained]


def test_only_unmarked_png_files_are_marked(study: Path) -> None:
    content = next((study / "data" / "synthetic").rglob("*.png")).read_bytes()
    about = {"where": "a.png", "remedy": "dvc repro synthesize"}
    assert mark_png(content, Mark(), **about) == content
    marked = mark_png(content, mark_of_ours(an_image()), **about)  # a control character, which XML cannot hold
    with pytest.raises(ValueError, match=r"a.png: has XMP metadata, which no stage writes; run `dvc repro synthesize`"):
        mark_png(marked, mark_of_ours(an_image()), **about)
    with pytest.raises(ValueError, match="not a PNG file"):
        mark_png(b"\xff\xd8", mark_of_ours(an_image()), **about)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--licence", "my own: one"], "--licence: 'my own: one': neither a name"),
        (["--url", "example.org"], "--url: 'example.org': not an address"),
        (["--date", "today"], "--date: 'today': no date"),
        (["--out", "data"], "--out: data: would be replaced, but holds something else (prepared)"),
        (["--out", "params.yaml"], "--out: params.yaml: would be replaced"),
    ],
)
def test_wrong_options_are_refused(study: Path, words: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        main(["records", *words])
    assert (study / "data" / "prepared").is_dir()


def test_missing_generator_is_named(study: Path) -> None:
    folder = study / "models" / "dreambooth" / "score_3" / "1"
    folder.rename(folder.with_name("away"))
    try:
        with pytest.raises(SystemExit, match="models/dreambooth/score_3/1: no such generator; run `dvc pull"):
            main(["records"])
    finally:
        folder.with_name("away").rename(folder)


def test_markdown_holds_any_name() -> None:
    assert code("a `` b") == "``` a `` b ```" and code("a\n\nb") == "`a b`"
    assert plain("*a* [b](c) <d>") == r"\*a\* \[b\](c) \<d\>"
    assert table(["x"], [["a|b"]]).splitlines()[-1] == r"| a\|b |"
