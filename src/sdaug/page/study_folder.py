"""What lies in a study's folder that the page can use: generators, classifiers, and settings to start from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdaug.common.params import Drawing
from sdaug.common.sections import read_params, read_section
from sdaug.synthesize.params import SynthesizeParams

BASE = "base"  # the name of the base among the models to draw with
# What a folder of a generator holds: a whole pipeline, or LoRA weights for the base.
GENERATOR_FILES = ("model_index.json", "pytorch_lora_weights.safetensors")
FALLBACK = Drawing(
    negative_prompt="", guidance_scale=2.0, inference_steps=20, sampler="dpm_solver", batch_size=4, precision="auto"
)


@dataclass(frozen=True)
class StudyFolder:
    """A study's folder; each of its parts may be missing, as before the first run."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def prepared(self) -> Path:
        return self.root / "data" / "prepared"

    @property
    def synthetic(self) -> Path:
        return self.root / "data" / "synthetic"

    @property
    def base(self) -> Path:
        return self.root / "models" / "base"

    @property
    def generators(self) -> Path:
        return self.root / "models" / "dreambooth"

    @property
    def classifiers(self) -> Path:
        return self.root / "models" / "classifiers"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    @property
    def report(self) -> Path:
        return self.root / "report"

    def list_models(self) -> list[str]:
        """The models to draw with that exist on disk: `base`, then `CLASS/SEED` of each generator."""
        found = [BASE] if (self.base / GENERATOR_FILES[0]).is_file() else []
        folders = sorted(path for path in self.generators.glob("*/*") if _is_generator(path))
        return [*found, *(path.relative_to(self.generators).as_posix() for path in folders)]

    def model_dir(self, model: str) -> Path:
        """The folder of a model to draw with.

        Raises:
            FileNotFoundError: it is not there.
        """
        names = self.list_models()
        if model not in names:  # also keeps paths such as `../..` out
            has = f"there are {', '.join(names)}" if names else "there is none yet"
            raise FileNotFoundError(
                f"Model: {model!r}: not in {self.generators.parent.name}/; {has}: choose another, or `dvc repro "
                "dreambooth` (`dvc pull` where it was pushed)"
            )
        return self.base if model == BASE else self.generators / model

    def list_classifiers(self) -> list[str]:
        """The trained classifiers on disk, `MODEL-ARM/SEED`."""
        folders = sorted(path.parent for path in self.classifiers.glob("*/*/config.json"))
        return [path.relative_to(self.classifiers).as_posix() for path in folders]

    def classifier_dir(self, name: str) -> Path:
        """The folder of a trained classifier.

        Raises:
            FileNotFoundError: it is not there.
        """
        names = self.list_classifiers()
        if name not in names:
            has = f"there are {', '.join(names)}" if names else "there is none yet"
            raise FileNotFoundError(f"Classifier: {name!r}: not there; {has}: choose another, or `dvc repro train`")
        return self.classifiers / name

    def prompts(self) -> dict[str, str]:
        """The prompt that each model has learnt, by its name: the instance prompt of its class, or the class prompt."""
        params = self._read()
        concepts, shared = params.get("concepts") or {}, (params.get("class_images") or {}).get("prompt", "")
        own = {str(label): str(concept.get("instance_prompt", "")) for label, concept in concepts.items()}
        return {model: own.get(model.rpartition("/")[0], str(shared)) for model in self.list_models()}

    def drawing(self) -> Drawing:
        """The settings of the stage `synthesize`, which the fields show first."""
        try:
            return read_section(self.params, "synthesize", SynthesizeParams).drawing
        except (OSError, ValueError):  # a study that has not begun; the page is there all the same
            return FALLBACK

    def size_pixels(self) -> int:
        """Width and height of the study's images."""
        size = (self._read().get("prepare") or {}).get("size_pixels")
        return size if isinstance(size, int) else 64

    def _read(self) -> dict[str, Any]:
        try:
            return read_params(self.params)
        except (OSError, ValueError):
            return {}


def _is_generator(folder: Path) -> bool:
    return any((folder / name).is_file() for name in GENERATOR_FILES)
