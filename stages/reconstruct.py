"""reconstruct: pass each training photo through the base's VAE, which makes it as soft as generated images are."""

import _source  # noqa: F401

import argparse
from pathlib import Path

from sdaug.common.device import prepare_device
from sdaug.common.files import fresh_dir
from sdaug.common.images import save_png
from sdaug.common.manifest import read_manifest, read_photos, training_photos
from sdaug.common.params import SplitParams
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.diffusion.latents import reconstruct
from sdaug.diffusion.pipelines import load_pipeline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for a PNG file per photo, named as the photo's")
    args = parser.parse_args()

    seen = training_photos(read_manifest(args.prepared), read_section(args.params, "split", SplitParams))
    pipeline = load_pipeline(args.base, prepare_device())
    images = reconstruct(pipeline.vae, read_photos(args.prepared, seen))
    with fresh_dir(args.out) as out_dir:
        for photo, pixels in zip(seen, images, strict=True):
            save_png(out_dir / photo.file_name, pixels)


if __name__ == "__main__":
    run_stage(main)
