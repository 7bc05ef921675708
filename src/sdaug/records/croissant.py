"""A folder of images in Croissant 1.1: files, records, what they were derived from, and what to beware of.

Sources: Croissant 1.1 and its RAI vocabulary (mlcommons.org), PROV-O (w3.org/TR/prov-o).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlcroissant as mlc
from mlcroissant._src.core.context import CroissantVersion
from mlcroissant._src.core.rdf import make_context
from rdflib.namespace import SDO

from sdaug.records.finished import Finished, Publication

TEXT, WHOLE = mlc.DataType.TEXT, mlc.DataType.INT64
IMAGES, FILES, MANIFEST, CLASSES = "images", "image-files", "image-table", "classes"


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is particular to a folder: `columns` of its table with kind and meaning, `classes` by id with their names.

    `provenance` is in PROV-O; `responsible_ai` by the arguments of mlcroissant's `Metadata`.
    """

    name: str
    description: str
    keywords: Sequence[str]
    columns: Mapping[str, tuple[Any, str]]
    classes: Mapping[str, str]
    provenance: Mapping[str, Any]
    responsible_ai: Mapping[str, str | Sequence[str]]


def describe_folder(found: Described, publication: Publication, *, table: str, table_hash: str) -> dict[str, Any]:
    """The description as JSON-LD; `table` is the CSV file of all images, beside which their files stand by class.

    Raises:
        mlcroissant.ValidationError: it is not valid.
    """
    ctx = mlc.Context(conforms_to=CroissantVersion.V_1_1)
    ctx.rdf = mlc.Rdf(context=make_context(ctx, prov="http://www.w3.org/ns/prov#"))
    metadata = mlc.Metadata(
        ctx=ctx,
        name=found.name,
        description=found.description,
        license=[publication.licence] if publication.licence else None,
        creators=[mlc.Organization(ctx=ctx, name=publication.creator)] if publication.creator else [],
        url=publication.url,
        date_published=publication.date,
        version="1.0.0",
        keywords=list(found.keywords),
        distribution=_files(ctx, table, table_hash),
        record_sets=[_classes(ctx, found.classes), _records(ctx, found.columns)],
        extra_properties=dict(found.provenance),
        **found.responsible_ai,
    )
    description: dict[str, Any] = metadata.to_json()
    return description


def entity(name: str, label: str, path: Path, study: Finished) -> dict[str, Any]:
    """In PROV-O: something in the study's folder, with DVC's hash of it if there is one."""
    found = {"@id": name, "@type": "prov:Entity", "prov:label": label, "prov:atLocation": path.as_posix()}
    known = study.hash_of(path)
    return found | ({"identifier": f"dvc:{known}"} if known else {})


def _files(ctx: mlc.Context, table: str, table_hash: str) -> list[Any]:
    return [
        mlc.FileObject(
            ctx=ctx,
            id=MANIFEST,
            name=table,
            description="A row per image, with the hash of its file.",
            content_url=table,
            encoding_formats=["text/csv"],
            sha256=table_hash,
        ),
        mlc.FileSet(
            ctx=ctx,
            id=FILES,
            name="image files",
            description="A folder per class.",
            encoding_formats=["image/png"],
            includes=["*/*.png"],
        ),
    ]


def _classes(ctx: mlc.Context, classes: Mapping[str, str]) -> mlc.RecordSet:
    """The classes of the images by id, with the name that people gave them."""
    named = [{f"{CLASSES}/id": label, f"{CLASSES}/name": name} for label, name in classes.items()]
    fields = [
        mlc.Field(ctx=ctx, id=f"{CLASSES}/{key}", name=key, description=said, data_types=[TEXT])
        for key, said in (("id", "As in the records of images."), ("name", "As people gave it."))
    ]
    return mlc.RecordSet(
        ctx=ctx,
        id=CLASSES,
        name=CLASSES,
        data_types=[SDO.Enumeration],
        key=[f"{CLASSES}/id"],
        fields=fields,
        data=named,
    )


def _records(ctx: mlc.Context, columns: Mapping[str, tuple[Any, str]]) -> mlc.RecordSet:
    """A record per image: the columns of the table, and the pixels."""

    def column(name: str) -> mlc.Source:
        return mlc.Source(ctx=ctx, file_object=MANIFEST, extract=mlc.Extract(ctx=ctx, column=name))

    def of_file(kind: str) -> mlc.Source:
        return mlc.Source(ctx=ctx, file_set=FILES, extract=mlc.Extract(ctx=ctx, file_property=kind))

    def field(name: str, kind: Any, said: str, source: mlc.Source, **further: Any) -> mlc.Field:
        named = {"id": f"{IMAGES}/{name}", "name": name, "description": said}
        return mlc.Field(ctx=ctx, **named, data_types=[kind], source=source, **further)

    # From the path, since readers of CSV take a class `01` for the number 1.
    label = column("file")
    label.transforms = [mlc.Transform(ctx=ctx, regex="^([^/]+)/")]
    # mlcroissant joins by equal values, and has a file's path as another type than text unless it goes through this.
    path = of_file("fullpath")
    path.transforms = [mlc.Transform(ctx=ctx, regex="^(.+)$")]
    return mlc.RecordSet(
        ctx=ctx,
        id=IMAGES,
        name=IMAGES,
        key=[f"{IMAGES}/file"],
        fields=[
            field("file", TEXT, "Path of the file.", path, references=column("file")),
            field("image", mlc.DataType.IMAGE_OBJECT, "Its pixels.", of_file("content")),
            field("class", TEXT, "The class that it was drawn for.", label),
            *(field(name, kind, said, column(name)) for name, (kind, said) in columns.items()),
        ],
    )
