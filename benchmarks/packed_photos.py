"""Simulated photos to train classifiers on: as class folders, and packed as the stage `split` packs them."""

from pathlib import Path

from sdaug.common.images import save_png
from sdaug.common.packed import write_packed
from sdaug.common.sections import read_section
from sdaug.phantom.params import PhantomParams
from sdaug.phantom.photo import draw_photo
from sdaug.phantom.udders import plan_teats

ROOT = Path(__file__).parents[1]


class Photos:
    """Photos of four scores, as many of each, in `folder/photos` and `folder/packed`."""

    def __init__(self, folder: Path, *, num_train: int, num_validation: int, size_pixels: int) -> None:
        self.folder = folder
        knobs = read_section(ROOT / "params.yaml", "phantom", PhantomParams)
        self.classes = list(knobs.train_counts)
        counts = dict.fromkeys(self.classes, num_train // 4), dict.fromkeys(self.classes, num_validation // 4)
        values = vars(knobs) | {"train_counts": counts[0], "test_counts": counts[1], "size_pixels": size_pixels}
        phantom, paths, rows = PhantomParams(**values), [], []
        for teat in plan_teats(phantom):
            part = "train" if teat.split == "train" else "validation"
            path = folder / "photos" / part / teat.label / f"{teat.index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_png(path, draw_photo(teat, phantom))
            paths.append(path)
            example = {"id": str(teat.index), "group": teat.udder, "label": teat.label, "origin": "real"}
            rows.append(example | {"part": part, "draw": ""})
        (folder / "packed").mkdir()
        # Training photos first, as `split` packs them.
        order = sorted(range(len(rows)), key=lambda index: rows[index]["part"])
        write_packed(folder / "packed", [paths[i] for i in order], [rows[i] for i in order])
