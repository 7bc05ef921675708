"""What synthetic images have in common, whoever drew them."""

from typing import Protocol


class Drawn(Protocol):
    """One image of a manifest: drawn by a generator of this study, or elsewhere.

    `draw` is that of its generator, None from elsewhere; `variant` is how it was drawn, or where it comes from.
    `photo` is the id of the photo that it started from, empty for none or where that is not known.
    """

    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def draw(self) -> int | None: ...
    @property
    def variant(self) -> str: ...
    @property
    def photo(self) -> str: ...
    @property
    def file_name(self) -> str: ...
