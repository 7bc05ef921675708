"""The tokenizer, which learns its words from captions, and the untrained text encoder."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
# How CLIP cuts plain English into words (Radford et al., arXiv 2103.00020).
WORDS = re.compile(r"[^\W\d_]+|\d|[^\s\w]+")


def train_tokenizer(captions: Iterable[str], *, num_merges: int, max_tokens: int) -> CLIPTokenizer:
    """A CLIP tokenizer whose byte-pair merges are learned from captions; unknown words become letters."""
    merges = learn_merges(captions, num_merges)
    letters = byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocab = {word: index for index, word in enumerate(dict.fromkeys(words))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_tokens)


def byte_letters() -> list[str]:
    """The printable characters that byte-level BPE (GPT-2, CLIP) assigns to the 256 bytes, in its order."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [*(chr(byte) for byte in shown), *(chr(256 + index) for index in range(len(hidden)))]


def learn_merges(captions: Iterable[str], num_merges: int) -> list[tuple[str, str]]:
    """The most common pairs of pieces, joined one after the other (Sennrich et al., arXiv 1508.07909).

    Captions are plain English. Ties are broken by the letters; the library `tokenizers` breaks them at random.
    """
    counts = Counter(word for caption in captions for word in WORDS.findall(caption.lower()))
    pieces = {word: [*word[:-1], f"{word[-1]}</w>"] for word in counts}
    merges: list[tuple[str, str]] = []
    for _ in range(num_merges):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += counts[word]
        if not pairs:
            break
        merges.append(max(pairs, key=lambda pair: (pairs[pair], pair)))
        pieces = {word: _join(parts, merges[-1]) for word, parts in pieces.items()}
    return merges


def build_text_encoder(tokenizer: CLIPTokenizer, *, width: int, num_layers: int) -> CLIPTextModel:
    """An untrained text encoder for this tokenizer, in evaluation mode."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=num_layers,
            num_attention_heads=width // 32,
            max_position_embeddings=tokenizer.model_max_length,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


def _join(parts: Sequence[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return joined
