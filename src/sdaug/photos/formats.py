"""Which files are photos, which are pictures that nobody here can read, and how each format says that it is one."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

# An explicit list, so that a disguised file cannot reach decoders that run other programs (EPS: Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000")
NAMES = "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC, JPEG 2000 or DICOM"
PHOTO_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
        ".avif",
        ".heic",
        ".heif",
        ".hif",
        ".jp2",
        ".j2k",
        ".jpx",
        ".dcm",
        ".dicom",
    ]
)
# Pictures and volumes: a class that loses these loses photos, unlike notes and tables beside photos.
_CAMERAS = ".3fr .arw .cr2 .cr3 .crw .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .sr2 .srw"
_EDITORS = ".ai .eps .pdf .psb .psd .svg .svgz .wmf .x3f .xcf"
_VIDEOS = ".avi .m4v .mkv .mov .mp4 .mpeg .mpg .webm .wmv"
_SCIENCE = ".czi .exr .fits .fts .h5 .hdr .ims .lif .lsm .mat .mha .mhd .nd2 .ndpi .nii .npy .npz .nrrd .svs .vsi"
_OTHERS = ".srf .cur .dds .icns .ico .jxl .jxr .pbm .pcx .pgm .pnm .ppm .qoi .sgi .tga .xbm .xpm"
LOST_SUFFIXES = frozenset(" ".join([_CAMERAS, _EDITORS, _VIDEOS, _SCIENCE, _OTHERS]).split())
UNNAMED = "(no suffix)"

# How files begin, for a message about one that no decoder takes.
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class UnreadablePhotoError(ValueError):
    """A file that holds no usable photo; the message is the reason, on one line."""


def is_photo(path: PurePath) -> bool:
    """Whether a file is a photo of a kind that is read, by its suffix."""
    return path.suffix.lower() in PHOTO_SUFFIXES


def is_picture(path: PurePath) -> bool:
    """Whether a file is a picture, read or not, by its suffix."""
    return is_photo(path) or path.suffix.lower() in LOST_SUFFIXES


def is_heif(content: bytes) -> bool:
    """Whether this is HEIC or HEIF, by its brand; AVIF has its own, but may carry `mif1` as its first one."""
    return content[4:8] == b"ftyp" and content[8:12] in HEIF_BRANDS and b"avif" not in content[16:64]


def is_dicom(content: bytes) -> bool:
    """Whether this is a DICOM file, by the four letters after its preamble."""
    return content[128:132] == b"DICM"


def unread_suffixes(files: Iterable[tuple[str, Path]]) -> Counter[tuple[str, str]]:
    """How many files of each class are no photos, by label and suffix (of `.nii.gz` the part `.nii`).

    `files` are all files with the labels of the class folders that hold them.
    """
    found = [(label, _suffix(path)) for label, path in files]
    return Counter(dict(sorted(Counter(key for key in found if key[1] not in PHOTO_SUFFIXES).items())))


def count_lost(unread: Counter[tuple[str, str]]) -> Counter[str]:
    """How many of the unread files of each class are pictures."""
    lost = Counter[str]()
    for (label, suffix), count in unread.items():
        lost[label] += count * (suffix in LOST_SUFFIXES)
    return +lost


def describe_unread(unread: Counter[tuple[str, str]]) -> list[str]:
    """One line a class, such as `rust: 12 .cr2 (pictures that are not read), 1 .txt`."""
    lines: dict[str, list[str]] = {}
    for (label, suffix), count in unread.items():
        said = f"{count} {suffix}" + " (pictures that are not read)" * (suffix in LOST_SUFFIXES)
        lines.setdefault(label, []).append(said)
    return [f"{label}: {', '.join(said)}" for label, said in lines.items()]


def _suffix(path: Path) -> str:
    inner = Path(path.stem).suffix.lower() if path.suffix.lower() in (".gz", ".bz2") else ""
    return inner or path.suffix.lower() or UNNAMED
