"""PNG files with a mark of how they came about: IPTC's digital source type, system and prompt, as XMP in a text chunk.

Sources: IPTC Photo Metadata 2025.1; XMP specification, part 3, 1.1.5 (PNG). Only a chunk is added: no pixel and no
other chunk changes.
"""

import io
from dataclasses import dataclass
from xml.etree import ElementTree

from PIL.PngImagePlugin import putchunk

from sdaug.common.external_images import ExternalImage
from sdaug.common.synthetic import SyntheticImage
from sdaug.external.settings import AUTOMATIC, COMFY, TABLE

KEYWORD = b"XML:com.adobe.xmp"
# From <https://cv.iptc.org/newscodes/digitalsourcetype/>; the second is an edited photo.
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
SYSTEM = "Stable Diffusion, fine-tuned with DreamBooth (sdaug)"
PROGRAMS = (AUTOMATIC, COMFY)  # whose settings the importer reads; both run such models
NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
PACKET = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{}<?xpacket end="r"?>'
SIGNATURE, HEADER_END = b"\x89PNG\r\n\x1a\n", 33  # after the signature and the first chunk, IHDR


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What a file says of how it came about; what is empty is not known, and not said."""

    source_type: str = ""
    system: str = ""
    prompt: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.source_type or self.system or self.prompt)


def mark_of_ours(image: SyntheticImage) -> Mark:
    """Of an image that a generator of the study drew: below a strength of 1, something of its photo is left in it."""
    keeps_photo = bool(image.photo) and (image.drawing.strength or 0) < 1
    return Mark(
        source_type=COMPOSITE if keeps_photo else TRAINED,
        system=SYSTEM,
        prompt=_prompt(image.prompt, image.drawing.negative_prompt),
    )


def mark_of_imported(image: ExternalImage) -> Mark:
    """Of an image from elsewhere, by what it says itself or a table says of it.

    Only a model that was trained takes a prompt or has a name. Without either, a person may have drawn it.
    """
    is_trained = bool(image.prompt or image.model or image.tool in PROGRAMS)
    return Mark(
        source_type=TRAINED if is_trained else "",
        system=system_of(image),
        prompt=_prompt(image.prompt, image.negative_prompt) if image.prompt else "",
    )


def system_of(image: ExternalImage) -> str:
    """The tool and model of an image from elsewhere, as far as they are known."""
    tool = "" if image.tool == TABLE else image.tool  # a table that does not say which
    return ", ".join(filter(None, [tool, f"model {image.model}" if image.model else ""]))


def mark_png(content: bytes, mark: Mark, *, where: str, remedy: str) -> bytes:
    """The PNG file `content` with one chunk more, which holds the mark; as it is if there is nothing to say.

    Raises:
        ValueError: it is no PNG file, or has such a chunk.
    """
    if not content.startswith(SIGNATURE) or content[12:16] != b"IHDR":
        raise ValueError(f"{where}: not a PNG file; run `{remedy}`")
    if KEYWORD in content:
        raise ValueError(f"{where}: has XMP metadata, which no stage writes; run `{remedy}`")
    if mark.is_empty:
        return content
    chunk = io.BytesIO()
    # Keyword, no compression, no language and no translated keyword (PNG specification, 11.3.3.4).
    putchunk(chunk, b"iTXt", KEYWORD + b"\0\0\0\0\0", xmp_packet(mark).encode())
    return content[:HEADER_END] + chunk.getvalue() + content[HEADER_END:]


def xmp_packet(mark: Mark) -> str:
    """The XMP of one image."""
    for prefix, address in NAMESPACES.items():
        ElementTree.register_namespace(prefix, address)
    root = ElementTree.Element(_name("x", "xmpmeta"))
    about = ElementTree.SubElement(root, _name("rdf", "RDF"))
    about = ElementTree.SubElement(about, _name("rdf", "Description"), {_name("rdf", "about"): ""})
    values = {
        "DigitalSourceType": mark.source_type and SOURCE_TYPES + mark.source_type,
        "AISystemUsed": mark.system,
        "AIPromptInformation": mark.prompt,
    }
    for key, value in values.items():
        if value:
            ElementTree.SubElement(about, _name("Iptc4xmpExt", key)).text = _printable(value)
    return PACKET.format(ElementTree.tostring(root, encoding="unicode"))


def _prompt(prompt: str, negative: str | None) -> str:
    """The prompt, and what images shall not show."""
    return f"{prompt} (not: {negative})" if negative else prompt


def _printable(text: str) -> str:
    """XML cannot hold control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _name(prefix: str, name: str) -> str:
    return f"{{{NAMESPACES[prefix]}}}{name}"
