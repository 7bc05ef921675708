"""The audit: planted leaks of each kind are found, and photos that only look alike are not accused."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from sdaug.audit.checks import ImageEvidence, PhotoEvidence, audit_as_json, check_images, check_photos
from sdaug.audit.findings import Check, Finding, leak_message, overall_verdict
from sdaug.audit.generator_records import Records
from sdaug.audit.params import AuditParams
from sdaug.audit.sides import check_groups, photos_with_siblings
from sdaug.common.manifest import Photo, training_photos
from sdaug.common.params import Protocol, SplitParams
from sdaug.common.photo_copies import PhotoCopy, find_copies, look_at, shared_detail
from sdaug.common.provenance import SeenPhoto, read_record, write_record
from sdaug.common.sections import read_section
from sdaug.phantom.params import CLASSES, PhantomParams
from sdaug.phantom.photo import draw_photo
from sdaug.phantom.udders import plan_teats
from sdaug.photos.folds import place_groups
from sdaug.photos.teats import read_labels
from sdaug.verdict.published import ROWS
from sdaug.verdict.siblings import sibling_scores

Pixels = NDArray[np.uint8]
ROOT = Path(__file__).parents[1]
PARAMS = read_section(ROOT / "params.yaml", "audit", AuditParams)
CLEAN = SplitParams(protocol="clean", fold=0, validation_fraction=0.2, seed=0)
FLIPS = ("base.flip_horizontal",)
PREPARED: dict[str, Any] = {"duplicates": {}, "num_training_copies_of_test_photos": 0}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What both audits look at."""

    photos: list[Photo]
    images: Pixels
    files: dict[str, str]
    synthetic_ids: list[str]
    synthetic: Pixels
    records: Records
    choosers: Records = field(default_factory=dict, kw_only=True)
    prepared: dict[str, Any]
    flips: Sequence[str] = FLIPS

    @property
    def of_photos(self) -> PhotoEvidence:
        look = look_at(self.images)
        limits = {"hash_distance": PARAMS.hash_distance, "copy_correlation": PARAMS.copy_correlation}
        copies = find_copies(look, look, shared=shared_detail(look), **limits)  # type: ignore[arg-type]
        rows = [
            PhotoCopy(**{**copy._asdict(), "first": self.photos[copy.first].id, "second": self.photos[copy.second].id})
            for copy in copies
        ]
        return PhotoEvidence(
            photos=self.photos,
            images=self.images,
            files=self.files,
            copies=rows,
            prepared=self.prepared,
            flips=self.flips,
        )

    @property
    def of_images(self) -> ImageEvidence:
        return ImageEvidence(
            photos=self.photos,
            images=self.images,
            synthetic_ids=self.synthetic_ids,
            synthetic=self.synthetic,
            records=self.records,
            choosers=self.choosers,
        )


def draw_evidence() -> Evidence:
    """A sound study of 156 phantom photos, with records of generators that saw what they may see."""
    phantom = replace(
        read_section(ROOT / "params.yaml", "phantom", PhantomParams),
        train_counts=dict(zip(CLASSES, (40, 40, 20, 8), strict=True)),
        test_counts=dict(zip(CLASSES, (18, 18, 8, 4), strict=True)),
    )
    teats = plan_teats(phantom)
    images = np.stack([draw_photo(teat, phantom) for teat in teats])
    train = [teat for teat in teats if teat.split == "train"]
    folds = place_groups([teat.udder for teat in train], seed=0, num_folds=4, test_fraction=None)
    fold_of = dict(zip([teat.index for teat in train], folds.tolist(), strict=True))
    photos, files = [], {}
    for teat, pixels in zip(teats, images, strict=True):
        photo = Photo(
            id=digest(pixels.tobytes(), 12),
            label=teat.label,
            group=digest(teat.udder.encode(), 8),
            split="test" if teat.split == "test" else "train",
            fold=fold_of.get(teat.index, -1),
            sha256=digest(pixels.tobytes() + b"file", 64),
        )
        photos.append(photo)
        files[photo.id] = f"{teat.split}/{teat.label}/{teat.udder}_{teat.position}.png"
    seen = [SeenPhoto(photo.id, photo.sha256) for photo in training_photos(photos, CLEAN)]
    return Evidence(
        photos=photos,
        images=images,
        files=files,
        synthetic_ids=[],
        synthetic=images[:0],
        records={"models/base": seen, "models/dreambooth/score_4": seen[:5]},
        prepared=PREPARED,
    )


def digest(content: bytes, length: int) -> str:
    return hashlib.sha256(content).hexdigest()[:length]


@pytest.fixture(scope="module")
def sound() -> Evidence:
    return draw_evidence()


def audit(evidence: Evidence, split: SplitParams = CLEAN) -> dict[str, Check]:
    photos = check_photos(evidence.of_photos, split=split, params=PARAMS)
    images = check_images(evidence.of_images, split=split, params=PARAMS)
    return {check.name: check for check in (*photos, *images)}


def with_photo(evidence: Evidence, source: int, target: int, change: Callable[[Pixels], Pixels]) -> Evidence:
    """The evidence with a changed picture of photo `source` in place of photo `target`."""
    images = evidence.images.copy()
    images[target] = change(images[source])
    return replace(evidence, images=images)


def find(evidence: Evidence, start: int = 0, **wanted: object) -> int:
    """The place of the first photo, from `start` on, with these values."""
    places = range(start, len(evidence.photos))
    return next(i for i in places if all(getattr(evidence.photos[i], key) == value for key, value in wanted.items()))


def saved_again(pixels: Pixels) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=60)
    return np.asarray(Image.open(stream).convert("RGB"))


def brightened(pixels: Pixels) -> Pixels:
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(pixels)).enhance(1.2))


def halved(pixels: Pixels) -> Pixels:
    height, width, _ = pixels.shape
    small = Image.fromarray(pixels).resize((width // 2, height // 2))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def mirrored(pixels: Pixels) -> Pixels:
    return saved_again(np.ascontiguousarray(pixels[:, ::-1]))


def turned(pixels: Pixels) -> Pixels:
    return saved_again(np.ascontiguousarray(np.rot90(pixels)))


def test_a_sound_study_has_no_alarm(sound: Evidence) -> None:
    checks = audit(sound)
    assert {name: check.findings for name, check in checks.items() if check.findings} == {}
    assert overall_verdict(checks.values()) == "ok"


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_group_on_two_sides_is_a_leak(sound: Evidence, split: str) -> None:
    one = find(sound, split="train", fold=1)
    other = find(sound, split=split, fold=-1 if split == "test" else 2)
    photos = list(sound.photos)
    photos[other] = replace(photos[other], group=photos[one].group)
    check = check_groups(photos, CLEAN)
    assert check.verdict == "leak" and {photos[one].id, photos[other].id} <= set(check.ids)


@pytest.mark.parametrize("change", [saved_again, brightened, halved, mirrored, turned])
def test_a_near_copy_on_another_side_is_a_leak(sound: Evidence, change: Callable[[Pixels], Pixels]) -> None:
    one = find(sound, split="train", label="score_2")
    other = find(sound, split="test", label="score_2")
    checks = audit(with_photo(sound, one, other, change))
    assert checks["near_copies"].verdict == "leak"
    assert checks["near_copies"].ids == sorted([sound.photos[one].id, sound.photos[other].id])


def test_an_exact_copy_on_another_side_is_a_leak(sound: Evidence) -> None:
    one = find(sound, split="train", label="score_2", fold=1)
    other = find(sound, split="train", label="score_2", fold=2)
    checks = audit(with_photo(sound, one, other, lambda pixels: pixels))
    assert checks["exact_copies"].ids == sorted([sound.photos[one].id, sound.photos[other].id])
    assert checks["near_copies"].verdict == "ok"  # named once


def test_a_copy_with_another_label_is_found_on_one_side_too(sound: Evidence) -> None:
    one = find(sound, split="train", label="score_2", fold=1)
    other = find(sound, split="train", label="score_3", fold=1)
    checks = audit(with_photo(sound, one, other, saved_again))
    assert checks["labels_of_copies"].verdict == "leak" and checks["near_copies"].verdict == "ok"


def test_a_copy_on_one_side_with_one_label_is_no_alarm(sound: Evidence) -> None:
    one = find(sound, split="train", label="score_2", fold=1)
    other = find(sound, one + 1, split="train", label="score_2", fold=1)
    assert overall_verdict(audit(with_photo(sound, one, other, saved_again)).values()) == "ok"


def test_photos_of_one_scene_are_not_accused(sound: Evidence) -> None:
    """A fixed camera: the same bright square in every photo, and noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, sound.images.shape, dtype=np.uint8)
    images[:, 12:36, 12:36] += 120
    checks = audit(replace(sound, images=images))
    assert [checks[name].findings for name in ("near_copies", "labels_of_copies")] == [(), ()]


@pytest.mark.parametrize("where", ["test", "validation"])
@pytest.mark.parametrize("key", ["id", "sha256"])
def test_a_generator_that_saw_a_held_out_photo_is_a_leak(sound: Evidence, where: str, key: str) -> None:
    hidden = sound.photos[find(sound, fold=-1 if where == "test" else CLEAN.fold)]
    seen = SeenPhoto("another", "another")._replace(**{key: getattr(hidden, key)})
    check = audit(replace(sound, records={"models/base": [seen]}))["seen_photos"]
    assert check.verdict == "leak" and check.ids == [hidden.id] and "models/base" in check.findings[0].note


def test_a_photo_that_the_study_does_not_have_is_a_warning(sound: Evidence) -> None:
    check = audit(replace(sound, records={"models/base": [SeenPhoto("gone", "gone")]}))["unknown_photos"]
    assert check.verdict == "warning" and check.ids == ["gone"]


def test_held_out_photos_that_chose_a_step_are_a_warning(sound: Evidence) -> None:
    hidden, seen = (sound.photos[find(sound, fold=fold)] for fold in (CLEAN.fold, 1))
    record = [SeenPhoto(photo.id, photo.sha256) for photo in (hidden, seen)]
    assert "choosing_photos" not in audit(sound)
    check = audit(replace(sound, choosers={"models/rare": record}))["choosing_photos"]
    assert check.verdict == "warning" and check.ids == [hidden.id] and "models/rare" in check.findings[0].note


@pytest.mark.parametrize("change", [halved, mirrored])
def test_a_synthetic_copy_of_a_held_out_photo_is_a_leak(sound: Evidence, change: Callable[[Pixels], Pixels]) -> None:
    hidden, seen = find(sound, split="test"), find(sound, split="train", fold=1)
    pixels = np.stack([halved(sound.images[seen]), change(sound.images[hidden])])
    check = audit(replace(sound, synthetic=pixels, synthetic_ids=["s0", "s1"]))["synthetic_copies"]
    # A copy of a training photo is no leak: that the generator may have learned it is another matter.
    assert check.verdict == "leak" and check.ids == sorted(["s1", sound.photos[hidden].id])


def numbered(evidence: Evidence, name: str) -> dict[str, str]:
    """File names in the order of their labels."""
    ordered = sorted(evidence.photos, key=lambda photo: (photo.label, photo.id))
    return {photo.id: f"train/{photo.label}/{name.format(place)}" for place, photo in enumerate(ordered)}


@pytest.mark.parametrize("name", ["IMG_{:04}.jpg", "{}.jpg"])
def test_numbers_sorted_by_class_are_a_warning(sound: Evidence, name: str) -> None:
    check = audit(replace(sound, files=numbered(sound, name)))["labels_in_file_names"]
    assert check.verdict == "warning" and "tell labels with a skill of" in check.findings[0].note


def test_a_label_within_file_names_is_a_warning(sound: Evidence) -> None:
    files = {photo.id: f"{photo.id}_C{photo.label[-1]}_x.jpg" for photo in sound.photos}
    assert audit(replace(sound, files=files))["labels_in_file_names"].verdict == "warning"


def test_a_class_folder_does_not_count_as_a_name(sound: Evidence) -> None:
    files = {photo.id: f"{photo.label}/{photo.sha256}.jpg" for photo in sound.photos}
    assert audit(replace(sound, files=files))["labels_in_file_names"].verdict == "ok"


def test_a_label_in_ids_is_a_leak(sound: Evidence) -> None:
    ids = {photo.id: f"{photo.label[-1]}x{photo.id}" for photo in sound.photos}
    photos = [replace(photo, id=ids[photo.id]) for photo in sound.photos]
    files = {ids[photo_id]: file for photo_id, file in sound.files.items()}
    assert audit(replace(sound, photos=photos, files=files))["labels_in_ids"].verdict == "leak"


def test_siblings_in_test_and_training_do_not_make_groups_readable(sound: Evidence) -> None:
    """As in the slides' split, where group and label go together, but no new group tells its label."""
    places = {label: [i for i, p in enumerate(sound.photos) if p.label == label] for label in CLASSES}
    group_of = {i: digest(f"{label}{n // 4}".encode(), 8) for label in CLASSES for n, i in enumerate(places[label])}
    photos = [replace(photo, group=group_of[i]) for i, photo in enumerate(sound.photos)]
    checks = audit(replace(sound, photos=photos))
    assert checks["groups"].verdict == "leak" and checks["labels_in_ids"].verdict == "ok"


def test_training_copies_of_test_photos_that_prepare_dropped_are_a_warning(sound: Evidence) -> None:
    prepared = {"duplicates": {"train.score_1": 2}, "num_training_copies_of_test_photos": 2}
    check = audit(replace(sound, prepared=prepared))["dropped_copies"]
    assert check.verdict == "warning" and "2 of train.score_1" in check.compared


def test_the_slides_test_photos_share_udder_photos_with_training() -> None:
    photos = teat_photos()
    assert (len(photos_with_siblings(photos)), sum(photo.split == "test" for photo in photos)) == (371, 380)
    check = check_groups(photos, replace(CLEAN, protocol="published"))
    assert check.verdict == "leak" and "371 of 380" in check.compared


def test_guessing_from_sibling_teats_beats_the_slides_best_model() -> None:
    scores = sibling_scores(teat_photos(), CLASSES)
    assert scores is not None and scores["test_accuracy"] == 249 / 380 > max(row.test_percent for row in ROWS) / 100


def teat_photos() -> list[Photo]:
    """The slides' photos as their label table has them, without pixels and folds."""
    return [
        Photo(
            id=teat.file,
            label=f"score_{teat.score}",
            group=teat.udder_group,
            split=teat.split,
            fold=-1 if teat.split == "test" else 0,
            sha256="",
        )
        for teat in read_labels()
    ]


@pytest.mark.parametrize(("protocol", "num_leaks"), [("clean", 1), ("published", 0)])
def test_folds_are_no_sides_where_all_photos_are_pooled(sound: Evidence, protocol: Protocol, num_leaks: int) -> None:
    photos = list(sound.photos)
    one, other = find(sound, fold=1), find(sound, fold=2)
    photos[other] = replace(photos[other], group=photos[one].group)
    assert len(check_groups(photos, replace(CLEAN, protocol=protocol)).findings) == num_leaks


def test_the_message_names_the_first_images_by_file_and_a_way_out(sound: Evidence) -> None:
    ids: Sequence[str] = [photo.id for photo in sound.photos[:5]]
    findings = tuple(Finding((photo_id,), "bad") for photo_id in ids)
    check = Check(name="groups", compared="", severity="leak", findings=findings, way_out="set this")
    message = leak_message([check], sound.files, listed_in="metrics/audit.json")
    assert sound.files[ids[0]] in message and "and 2 more: set this" in message and "audit.on_leak" in message
    assert "\n" not in message


WAYS_OUT = {
    "groups": "prepare.split: made",
    "exact_copies": "prepare.split: made",
    "near_copies": "prepare.group_copies: true",
    "labels_of_copies": "prepare.ignore",
    "mirrored_classes": "sdaug adopt --no-flip",
    "labels_in_ids": "prepare.group_pattern",
    "seen_photos": "dvc repro -f base",
    "synthetic_copies": "generator_seeds",
}


def test_the_way_out_of_each_leak_is_a_command_or_a_setting(sound: Evidence) -> None:
    checks = audit(sound)
    assert {name for name, check in checks.items() if check.severity == "leak"} == set(WAYS_OUT)
    assert [name for name, way_out in WAYS_OUT.items() if way_out not in checks[name].way_out] == []


def mirrored_classes(evidence: Evidence, count: int) -> Evidence:
    """The evidence with mirrored photos of one class in another, all in one fold."""
    for _ in range(count):
        one = find(evidence, split="train", label="score_2", fold=1)
        other = find(evidence, split="train", label="score_3", fold=1)
        evidence = with_photo(evidence, one, other, mirrored)
        photos = list(evidence.photos)
        photos[one], photos[other] = (replace(photos[place], fold=2) for place in (one, other))
        evidence = replace(evidence, photos=photos)
    return evidence


def test_mirrored_pairs_across_classes_name_the_switches_that_mirror(sound: Evidence) -> None:
    check = audit(mirrored_classes(sound, 2))["mirrored_classes"]
    assert check.verdict == "leak" and len(check.ids) == 4
    assert check.findings[0].note == "2 photos of score_2 are mirrored photos of score_3"
    assert "set base.flip_horizontal to false" in check.way_out


def test_mirrored_pairs_across_classes_are_no_leak_where_nothing_is_mirrored(sound: Evidence) -> None:
    checks = audit(replace(mirrored_classes(sound, 2), flips=()))
    names = ("mirrored_classes", "labels_of_copies", "near_copies")
    assert [checks[name].verdict for name in names] == ["warning", "ok", "ok"]


def test_a_single_mirrored_pair_is_a_slip(sound: Evidence) -> None:
    checks = audit(mirrored_classes(sound, 1))
    assert checks["mirrored_classes"].findings == () and checks["labels_of_copies"].verdict == "leak"


def test_what_is_written_names_every_image(sound: Evidence) -> None:
    check = Check(name="groups", compared="all", severity="leak", findings=(Finding((sound.photos[0].id,), "bad"),))
    written = audit_as_json([check], sound.of_photos, CLEAN, PARAMS)
    assert written["verdict"] == "leak" and written["num_photos"]["test"] == 48
    assert written["checks"]["groups"]["ids"] == [sound.photos[0].id]
    assert written["checks"]["groups"]["details"] == [f"{sound.files[sound.photos[0].id]}: bad"]


def test_a_record_keeps_what_it_is_given_in_any_order(sound: Evidence, tmp_path: Path) -> None:
    write_record(tmp_path / "one", sound.photos)
    write_record(tmp_path / "other", sound.photos[::-1])
    assert (tmp_path / "one/photos.csv").read_bytes() == (tmp_path / "other/photos.csv").read_bytes()
    assert {seen.id for seen in read_record(tmp_path / "one")} == {photo.id for photo in sound.photos}


def test_a_base_that_saw_no_photo_has_an_empty_record(tmp_path: Path) -> None:
    write_record(tmp_path, [])
    assert read_record(tmp_path) == []


def test_a_generator_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"photos.csv: missing, so nobody knows what this generator saw"):
        read_record(tmp_path)
