"""The words of an adopted study: subject, prompts, tokens, and class names that a mirror would swap."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Letters that begin no common word; with a letter after them, they are a token that means nothing yet.
TOKEN_STEMS = ("zw", "zx", "zv", "zq", "zk", "zj", "zg", "zf", "zb", "zd")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MIRRORED = (
    ("left", "right"),
    ("l", "r"),
    ("links", "rechts"),
    ("gauche", "droite"),
    ("izquierda", "derecha"),
    ("sinistra", "destra"),
    ("esquerda", "direita"),
    ("clockwise", "counterclockwise"),
    ("clockwise", "anticlockwise"),
    ("cw", "ccw"),
    ("od", "os"),  # oculus dexter and sinister: the right and the left eye
)
COMPOUNDED = 4  # letters of a word from which on it may be part of another: `leftturn`, but not `lamp` and `ramp`


def clean_subject(text: str) -> str:
    """What the photos show, without the words that prompts put before it: `a photo of a leaf` is `leaf`.

    Raises:
        ValueError: nothing is left.
    """
    words = re.sub(r"^(?:an? )?(?:photo|picture|image)s? of ", "", " ".join(text.split()), flags=re.IGNORECASE)
    subject = re.sub(r"^(?:an?|the) ", "", words, flags=re.IGNORECASE)
    if not subject:
        raise ValueError(f"--subject {text!r}: no words; say what the photos show, such as --subject 'coffee leaf'")
    return subject


def photo_of(subject: str) -> str:
    """The generic prompt of a subject."""
    return f"a photo of {'an' if subject[0].lower() in 'aeiou' else 'a'} {subject}"


def token_of(place: int) -> str:
    """The token of the class at this place: zwa, zwb and so on.

    Raises:
        ValueError: there are more classes than tokens.
    """
    most = len(TOKEN_STEMS) * len(LETTERS)
    if place >= most:
        raise ValueError(f"{place + 1} classes; need at most {most}, which have tokens of their own")
    return TOKEN_STEMS[place // len(LETTERS)] + LETTERS[place % len(LETTERS)]


def prompts_of(params: Mapping[str, Any]) -> list[str]:
    """The prompts of a study: the generic one, then that of each class with a generator."""
    concepts = params["concepts"].items()
    return [
        f"{params['class_images']['prompt']} (any class)",
        *(f"{concept['instance_prompt']} ({label})" for label, concept in concepts),
    ]


def find_mirrored(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of class names that differ in a word and its mirror image alone, such as `turn left` and `turn right`.

    The word may be a part of another, at its start or end: `leftturn` and `rightturn`.
    """
    words_of = {name: tuple(re.findall(r"[^\W\d_]+|\d+", name.casefold())) for name in names}
    found = []
    for one in names:
        for a, b in MIRRORED:
            swapped = tuple(_swapped(word, a, b) for word in words_of[one])
            found += [(one, other) for other in names if swapped != words_of[one] and words_of[other] == swapped]
    return found


def _swapped(word: str, one: str, other: str) -> str:
    """The word with `other` in place of `one`, if that is the word, or its start or end."""
    if word == one:
        return other
    if min(len(one), len(other)) < COMPOUNDED:
        return word
    if word.startswith(one):
        return other + word.removeprefix(one)
    return word.removesuffix(one) + other if word.endswith(one) else word
