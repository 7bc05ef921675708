"""class_images: draw the base's images for the class prompt, used for prior preservation in every DreamBooth run."""

import _source  # noqa: F401

import argparse
from pathlib import Path

from sdaug.common.device import prepare_device
from sdaug.common.files import fresh_dir
from sdaug.common.sections import read_section
from sdaug.common.stage import run_stage
from sdaug.diffusion.pipelines import load_pipeline
from sdaug.dreambooth.class_images import draw_class_images, save_class_images
from sdaug.dreambooth.params import ClassImagesParams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    params = read_section(args.params, "class_images", ClassImagesParams)
    # As large as the photos, since DreamBooth puts both into one batch.
    size_pixels = read_section(args.params, "prepare.size_pixels", int)
    pipeline = load_pipeline(args.base, prepare_device())
    images = draw_class_images(pipeline, params, size_pixels=size_pixels)
    with fresh_dir(args.out) as out_dir:
        save_class_images(images, out_dir)


if __name__ == "__main__":
    run_stage(main)
