"""What the description of images from elsewhere says of them: what they or their importer declare, and no more."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdaug.common.external_images import ExternalImage
from sdaug.records.croissant import TEXT, Described, entity
from sdaug.records.finished import IMPORTED, Finished
from sdaug.records.marking import mark_of_imported, system_of
from sdaug.verdict.external_summary import SEEN
from sdaug.verdict.number_formats import plural

COLUMNS = {
    "id": (TEXT, "What the study calls the image."),
    "prompt": (TEXT, "What its tool was asked for, as far as it is known."),
    # Readers of CSV take a column of seeds with gaps for fractions, and those of ComfyUI need all their 64 bits.
    "settings": (TEXT, "Prompt, seed, model and tool in one line, as far as they are known."),
    "tool": (TEXT, "Tool and model, as far as they are known."),
    "source_type": (
        TEXT,
        "IPTC's digital source type, which is also in the file's XMP metadata; empty if nothing says how the image was "
        "made.",
    ),
    "original": (TEXT, "Its file below the folder that was imported."),
    "sha256": (TEXT, "Hash of the file."),
    "study_sha256": (TEXT, "Hash of the study's own file, which has the same pixels."),
}


def describe_imported(study: Finished, source: str, images: Sequence[ExternalImage]) -> Described:
    """Of the images of one entry of section `external`."""
    labels = sorted({image.label for image in images})
    return Described(
        name=f"Images from elsewhere: {source}",
        description=_describe(images, source, labels),
        keywords=["synthetic images", "data augmentation"],
        columns=COLUMNS,
        classes={label: study.name_of(label) for label in labels},
        provenance=_provenance(study, source, images),
        responsible_ai=_responsible_ai(study, source, images),
    )


def _describe(images: Sequence[ExternalImage], source: str, labels: Sequence[str]) -> str:
    num_known = sum(bool(mark_of_imported(image).source_type) for image in images)
    return (
        f"{plural(len(images), 'image')} of {', '.join(labels)} that the study was given (external.{source}); its own "
        f"generators drew none of them. {num_known} are marked as IPTC's trainedAlgorithmicMedia, since they, or a "
        "table beside them, name a prompt, a model or a program for such models; whether one of them started from a "
        "photo is not known. Of the others nothing says how they were made. No licence is stated here: their terms are "
        "those of who or what made them."
    )


def _provenance(study: Finished, source: str, images: Sequence[ExternalImage]) -> dict[str, Any]:
    """In PROV-O: an activity imported what a folder had; tools are named as images or their importer name them."""
    settings = (study.inputs.params.get("external") or {}).get(source) or {}
    given = entity("#given", "The folder of images as the study was given it", Path(settings["folder"]), study)
    copies = entity("#study", "The study's own images: squared and resized", IMPORTED / source, study)
    activity = {
        "@id": "#import",
        "@type": "prov:Activity",
        "prov:label": "Importing images that were made elsewhere, and marking copies of them by what is known",
        "prov:used": [given, copies],
        "prov:wasAssociatedWith": {"@id": "#sdaug", "@type": "prov:SoftwareAgent", "prov:label": "sdaug"},
    }
    systems = sorted({system_of(image) for image in images} - {""})
    tools = [
        {"@id": f"#tool-{n}", "@type": "prov:SoftwareAgent", "prov:label": f"{system}, as images or their importer say"}
        for n, system in enumerate(systems)
    ]
    derived: dict[str, Any] = {"prov:wasGeneratedBy": activity, "prov:wasDerivedFrom": [{"@id": "#given"}]}
    return derived | ({"prov:wasAttributedTo": tools} if tools else {})


def _responsible_ai(study: Finished, source: str, images: Sequence[ExternalImage]) -> dict[str, str | Sequence[str]]:
    found = study.inputs.external.sources[source]
    return {
        "data_collection": (
            "Put into a folder by who ran the study. Images that cannot be read or have a single colour were refused; "
            f"{found.num_duplicates} with the pixels of another one were left out."
        ),
        "data_collection_type": ["Others"],
        "data_preprocessing_protocol": ["Squared and resized like the photos of the study."],
        "data_annotation_protocol": ["The class of an image is that of its folder, by the word of who filled it."],
        "data_biases": [SEEN[found.seen]],
        "data_limitations": [
            f"How an image was made is known of {found.num_with_settings} of {len(images)}. The study cannot draw them "
            "again.",
            "They are no evidence of what a class looks like, and no test set.",
        ],
        "data_use_cases": ["Training classifiers beside photos of the same subject; studying such augmentation."],
        "data_social_impact": "Taken for photos, they would mislead.",
        "personal_sensitive_information": ["What their tools learned from is not known here."],
    }
