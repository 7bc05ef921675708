"""The folder of images from elsewhere: a folder for each class, or for some, and any folders below these."""

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import NamedTuple

from sdaug.external.params import ExternalParams
from sdaug.photos.folders import Source
from sdaug.photos.formats import NAMES, is_photo, is_picture
from sdaug.photos.tree import walk

NUM_NAMED = 3  # files in an error message that could list hundreds


class Found(NamedTuple):
    """The images of a folder in the order of their paths, and how many each class has."""

    images: list[Source]

    @property
    def counts(self) -> Counter[str]:
        return Counter(image.label for image in self.images)


def find_images(name: str, source: ExternalParams, classes: Sequence[str]) -> Found:
    """The images of the entry `name` of section `external`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a folder is no class, a picture lies outside of class folders or is of a kind that is not read, or
            there are no images.
    """
    where, root = f"params.yaml: external.{name}", source.folder
    if not root.is_dir():
        raise FileNotFoundError(
            f"{where}.folder: {root}: no such folder; give a folder of class folders, or `dvc pull` it"
        )
    unknown = sorted(set(source.class_names) - set(classes))
    if unknown:
        raise ValueError(f"{where}.class_names: {unknown[0]}: not a class; classes are {', '.join(classes)}")
    label_of = {source.class_names.get(label, label): label for label in classes}
    images: list[Source] = []
    for inner in walk(root, PurePosixPath()):
        if _is_ignored(inner, source.ignore):
            continue
        top = inner.parts[0]
        if (root / inner).is_dir():
            if len(inner.parts) == 1 and top not in label_of:
                raise ValueError(
                    f"{where}: {root / inner}: a folder that is no class; classes are {', '.join(label_of)}; rename "
                    "it, say in class_names which class it is, or name it in ignore"
                )
        elif len(inner.parts) == 1 and is_picture(inner):
            raise ValueError(
                f"{where}: {root / inner}: a picture outside of the class folders; move it into that of its class, or "
                "name it in ignore"
            )
        elif is_photo(inner):
            images.append(Source(root / inner, label_of[top], None))
        elif is_picture(inner):
            raise ValueError(
                f"{where}: {root / inner}: of a kind that is not read, which are {NAMES}; convert it, delete it, or "
                "name it in ignore"
            )
    if not images:
        raise ValueError(f"{where}: {root}: no images; give a folder with a folder of images for each class")
    return Found(sorted(images, key=lambda image: image.path.relative_to(root).as_posix()))


def _is_ignored(inner: PurePosixPath, patterns: Sequence[str]) -> bool:
    """Whether a path matches a pattern as a whole, by its name, or by that of a folder above it."""
    return any(fnmatch(name, pattern) for name in (inner.as_posix(), *inner.parts) for pattern in patterns)
