"""Pretraining the shipped base: its worlds, its tokenizer, and a training that an interruption does not change."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sampling import DRAWING

from sdaug.common.checkpoint import Checkpoint
from sdaug.common.device import prepare_device
from sdaug.common.provenance import SEEN, read_seen
from sdaug.common.sections import convert, read_params
from sdaug.diffusion.pipelines import load_pipeline
from sdaug.diffusion.sampling import draw_pixels
from sdaug.diffusion.weight_training import WeightTraining
from sdaug.pretrain import card
from sdaug.pretrain.card import describe_world
from sdaug.pretrain.collection import collect, count
from sdaug.pretrain.networks import train_tokenizer
from sdaug.pretrain.params import PretrainParams
from sdaug.pretrain.pretraining import pretrain
from sdaug.pretrain.worlds import draw_leaves, draw_object, draw_teat

FILE = Path(__file__).parents[1] / "pretrained" / "params.yaml"
SHIPPED: PretrainParams = convert(read_params(FILE), PretrainParams, str(FILE))
SMALL = replace(
    SHIPPED,
    world=replace(SHIPPED.world, size_pixels=32, num_teats=4, num_leaves=2, num_objects=3, photos=None, num_photos=0),
    network=replace(
        SHIPPED.network, vae_channels=[16, 32], unet_channels=[16, 32], text_width=32, text_layers=1, num_merges=20
    ),
    vae=replace(SHIPPED.vae, steps=4, batch_size=2, warmup_steps=1, precision="fp32"),
    unet=replace(SHIPPED.unet, steps=4, batch_size=2, warmup_steps=1, precision="fp32"),
    crop_pixels=16,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_sample() -> Iterator[None]:
    """The card shows one prompt instead of all, which saves a second per training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card, "PROMPTS", card.PROMPTS[:1])
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pretrained")
    pretrain(SMALL, root / "work", root / "small", prepare_device(1))
    return root / "small"


@pytest.mark.parametrize("draw", [draw_leaves, draw_object, lambda *args: draw_teat(*args, [1, 2, 3, 4])])
def test_image_depends_on_its_seed_and_index_alone(draw) -> None:  # type: ignore[no-untyped-def]
    first, caption = draw(3, 5, 32)
    again, _ = draw(3, 5, 32)
    assert np.array_equal(first, again) and first.shape == (32, 32, 3) and caption
    assert not np.array_equal(first, draw(3, 6, 32)[0]) and not np.array_equal(first, draw(4, 5, 32)[0])


def test_captions_of_teats_do_not_tell_the_score() -> None:
    by_score = [{draw_teat(0, index, 32, [score])[1] for index in range(40)} for score in (1, 2, 3, 4)]
    assert by_score[0] == by_score[1] == by_score[2] == by_score[3]
    assert not any(re.search(r"\d|score|rough|ring", caption) for caption in by_score[0])


def test_caption_of_an_object_names_what_is_there() -> None:
    _, caption = draw_object(0, 1, 32)
    assert re.fullmatch(r"a \w+ \w+ \w+ on a \w+ \w+ background", caption)


def test_photos_that_the_base_has_seen_have_a_licence_that_allows_it() -> None:
    rows = [line.split(",") for line in (FILE.parent / "photos.csv").read_text().splitlines()[1:]]
    assert {row[3] for row in rows} <= {"CC0", "public domain", "CC BY 2.0"}


def test_images_are_drawn_once(tmp_path: Path) -> None:
    images, captions = collect(SMALL.world, tmp_path)
    assert len(images) == len(captions) == count(SMALL.world)
    before = (tmp_path / "images.npy").stat().st_mtime_ns
    collect(SMALL.world, tmp_path)
    assert (tmp_path / "images.npy").stat().st_mtime_ns == before
    collect(replace(SMALL.world, seed=1), tmp_path)
    assert (tmp_path / "images.npy").stat().st_mtime_ns != before


def test_package_that_is_missing_is_named_before_anything_is_drawn(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.write_text("package,file,caption,licence,source\nno_such_package,a.png,a photo,CC0,nobody\n")
    world = replace(SMALL.world, photos=table, num_photos=1)
    with pytest.raises(ValueError, match=r"photos.csv: a.png: package no_such_package is not installed; `uv pip"):
        collect(world, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_tokenizer_has_learned_words_and_spells_others() -> None:
    tokenizer = train_tokenizer(["a photo of a teat end"] * 3, num_merges=60, max_tokens=32)
    assert tokenizer.tokenize("a photo of a teat end") == [
        "a</w>",
        "photo</w>",
        "of</w>",
        "a</w>",
        "teat</w>",
        "end</w>",
    ]
    assert tokenizer.tokenize("Teat ZWQ") == ["teat</w>", "z", "w", "q</w>"]
    ids = tokenizer("teat", padding="max_length", max_length=8).input_ids
    assert ids[0] == tokenizer.bos_token_id and ids[2:] == [tokenizer.eos_token_id] * 6


def test_pretrained_base_is_a_base_like_any_other(trained: Path) -> None:
    pipeline = load_pipeline(trained, CPU)
    images = draw_pixels(pipeline, "a photo of a teat end", DRAWING, [1, 2], height=32, width=32, title="test")
    assert images.shape == (2, 32, 32, 3) and pipeline.unet.dtype == torch.float32


def test_card_says_what_the_base_has_seen(trained: Path) -> None:
    text = (trained / "README.md").read_text()
    assert "4 simulated photos of teat ends" in text and "scores\n  1, 2, 3, 4" in text
    assert (trained / "samples.png").is_file()


def test_seen_file_counts_what_the_base_has_seen(trained: Path) -> None:
    seen = read_seen(trained / SEEN)
    assert seen.summary == "4 simulated teat ends of scores 1 to 4 and 5 procedural pictures; none of this study"
    assert seen.counts == {"teats": 4, "leaves": 2, "objects": 3, "photo_cuts": 0, "photos": 0}


def test_photos_that_the_shipped_base_has_seen_are_counted() -> None:
    world = replace(SHIPPED.world, photos=FILE.parent / "photos.csv")
    rows = (FILE.parent / "photos.csv").read_text().splitlines()[1:]
    assert f"{world.num_photos:,} cuts from {len(rows)} free photos" in describe_world(world).summary


def test_base_without_teats_does_not_speak_of_them() -> None:
    assert describe_world(replace(SMALL.world, num_teats=0)).summary == "5 procedural pictures; none of this study"


@pytest.mark.parametrize(
    ("scores", "named"), [([2], "of score 2"), ([4, 1], "of score 4 and 1"), ([1, 2, 4], "1, 2 and 4")]
)
def test_scores_that_the_base_has_not_seen_are_not_named(scores: list[int], named: str) -> None:
    assert named in describe_world(replace(SMALL.world, teat_scores=scores)).summary


def test_weights_are_stored_in_half_precision(trained: Path) -> None:
    pipeline = load_pipeline(trained, CPU)
    num_weights = sum(
        w.numel() for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder) for w in part.parameters()
    )
    size = sum(path.stat().st_size for path in trained.rglob("*.safetensors"))
    assert size < 2.5 * num_weights


@pytest.mark.parametrize("stop", [1, 3, 5, 7])
def test_interrupted_training_ends_with_the_same_bytes(
    trained: Path, tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after so many steps of either training, then run again."""
    monkeypatch.setattr(Checkpoint, "is_due", lambda _: True)
    plain, steps = WeightTraining.update, iter(range(stop))

    def fail(self: WeightTraining, loss: torch.Tensor) -> None:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        plain(self, loss)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(WeightTraining, "update", fail)
        pretrain(SMALL, tmp_path / "work", tmp_path / "small", prepare_device(1))
    assert not (tmp_path / "small").exists()
    pretrain(SMALL, tmp_path / "work", tmp_path / "small", prepare_device(1))
    for path in trained.rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "small" / path.relative_to(trained)).read_bytes(), path.name


def test_checkpoint_of_other_params_is_not_taken(trained: Path, tmp_path: Path) -> None:
    pretrain(replace(SMALL, vae=replace(SMALL.vae, seed=1)), tmp_path / "work", tmp_path / "other", prepare_device(1))
    pretrain(SMALL, tmp_path / "work", tmp_path / "small", prepare_device(1))
    for path in trained.rglob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "small" / path.relative_to(trained)).read_bytes(), path.name
