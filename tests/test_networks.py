"""The untrained small pipeline: its tokenizer writes anything, and its weights follow from the seed alone."""

import torch
from small import NETWORK, build_small

from sdaug.pretrain.text import train_tokenizer


def test_different_prompts_have_different_ids() -> None:
    prompts = ["a photo of a zwa teat end", "a photo of a zwb teat end", "a photo of a teat end", ""]
    tokenizer = train_tokenizer(prompts[2:], num_merges=60, max_tokens=32)
    ids = tokenizer(prompts, padding="max_length", truncation=True).input_ids
    assert len({tuple(row) for row in ids}) == len(prompts)


def test_prompt_comes_back_from_its_ids() -> None:
    tokenizer = train_tokenizer(["a photo of a teat end"], num_merges=60, max_tokens=32)
    ids = tokenizer("a photo of a zwa teat").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True).split() == ["a", "photo", "of", "a", "zwa", "teat"]


def test_any_character_has_a_token_of_its_own() -> None:
    tokenizer = train_tokenizer([], num_merges=0, max_tokens=32)
    assert tokenizer.unk_token_id not in tokenizer("zitze größe 乳 🐄").input_ids[1:-1]


def test_every_prompt_is_filled_to_the_length_of_the_text_encoder() -> None:
    pipeline = build_small()
    ids = pipeline.tokenizer(["a", "a" * 200], padding="max_length", truncation=True).input_ids
    assert [len(row) for row in ids] == [NETWORK.max_tokens] * 2
    assert pipeline.text_encoder.config.max_position_embeddings == NETWORK.max_tokens


def test_weights_follow_from_the_seed_alone() -> None:
    built = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        built.append(build_small().unet.state_dict())
    assert all(torch.equal(tensor, built[1][name]) for name, tensor in built[0].items())


def test_another_seed_gives_other_weights() -> None:
    first, second = (build_small(seed=seed).unet.conv_in.weight for seed in (0, 1))
    assert not torch.equal(first, second)
