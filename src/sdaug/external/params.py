"""Section `external` of params.yaml: a named entry per folder of images that were drawn elsewhere."""

from pydantic import Field

from sdaug.common.external_images import SeenPhotos
from sdaug.common.sections import Checked, FilePath, require, section


@section
class ExternalParams(Checked):
    """An entry of `external`: a folder of class folders, and what is known of the tool that filled it."""

    folder: FilePath = Field(description="a folder with a folder of images for each class that lacks some")
    table: str | None = Field(description="a CSV file in the folder: settings of each image, by the column file")
    class_names: dict[str, str] = Field(description="of classes whose folder has another name than the class")
    ignore: list[str] = Field(description="patterns of paths to leave out, such as `*_grid.png`")
    seen: SeenPhotos = Field(
        description="photos of this study that the tool has seen: none, training (no others) or unknown"
    )

    def __post_init__(self) -> None:
        is_inside = self.table is None or not ("/" in self.table or "\\" in self.table)
        require(is_inside, "table", self.table, "need the name of a file in the folder, so that DVC watches both")
