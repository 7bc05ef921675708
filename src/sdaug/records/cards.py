"""What all model cards share: where they are from, and the templates that they fill."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from sdaug.base.params import HUB_ID
from sdaug.common.provenance import Seen
from sdaug.records.finished import Finished
from sdaug.verdict.inputs import without_folders

TEMPLATES = Path(__file__).parent
UNMEASURED = "not measured"
UNKNOWN_LICENCE = "not stated; who shares the model has to say"


def fill_card(template: str, data: ModelCardData, /, **values: Any) -> str:
    """The card in Markdown from the file `template`, with its metadata in front as model hubs read them.

    Nothing here asks a server: `ModelCard.validate` would.
    """
    card = ModelCard.from_template(data, template_path=str(TEMPLATES / template), **values)
    return f"{str(card).rstrip()}\n"


def base_on_hub(study: Finished) -> str | None:
    """The hub id of the base, if it is from there: `pretrained/small` looks like one, but is a folder."""
    model = str(study.inputs.setting("base", "model"))
    return model if HUB_ID.fullmatch(model) and not (study.root / model).exists() else None


def name_base(study: Finished) -> str:
    """The base as params.yaml names it, with its revision, and without folders that tell whose machine it was."""
    model, revision = without_folders(study.inputs.setting("base", "model")), study.inputs.setting("base", "revision")
    return f"{model} at {revision}" if revision else str(model)


def counts_of(seen: Seen) -> str:
    """What the base has seen in numbers, by kind."""
    counts = seen.counts | ({"training photos of this study": seen.num_adapted} if seen.num_adapted else {})
    return ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in counts.items())
