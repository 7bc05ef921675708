"""Writing phantom photos to folders: those of the study, and further ones that are in no split."""

from dataclasses import replace
from pathlib import Path

from sdaug.common.images import save_png
from sdaug.common.progress import progress
from sdaug.common.seeding import derive_seed
from sdaug.phantom.params import CLASSES, PhantomParams
from sdaug.phantom.photo import draw_photo
from sdaug.phantom.udders import plan_teats


def write_phantom(params: PhantomParams, out_dir: Path) -> None:
    """Draw every photo to `out_dir/<split>/<label>/<udder>_<position>.png`."""
    teats = plan_teats(params)
    for teat in progress(teats, title="phantom", total=len(teats), unit="photo"):
        path = out_dir / teat.split / teat.label / f"{teat.udder}_{teat.position}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(path, draw_photo(teat, params))


def write_further(params: PhantomParams, counts: dict[str, int], out_dir: Path) -> dict[str, list[Path]]:
    """Draw `counts` photos per class, of new teats that are in no split; returns the files per class."""
    seed = derive_seed(params.seed, "further")
    # A plan needs at least one photo in each class; those not asked for are not drawn.
    planned = {name: max(1, counts.get(name, 0)) for name in CLASSES}
    plan = plan_teats(replace(params, train_counts=planned, test_counts=dict.fromkeys(CLASSES, 1), seed=seed))
    files: dict[str, list[Path]] = {name: [] for name in CLASSES}
    for teat in (teat for teat in plan if teat.split == "train"):
        if len(files[teat.label]) < counts.get(teat.label, 0):
            path = out_dir / f"{teat.udder}_{teat.position}.png"
            save_png(path, draw_photo(teat, replace(params, seed=seed)))
            files[teat.label].append(path)
    return files
