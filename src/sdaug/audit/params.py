"""Section `audit` of params.yaml."""

from typing import Literal

from pydantic import Field

from sdaug.common.sections import Checked, section

OnLeak = Literal["fail", "report"]


@section
class AuditParams(Checked):
    """Section `audit`: what counts as a leak, and what then happens."""

    on_leak: OnLeak = Field(description="fail stops the run, report goes on and says so in the report")
    # 2 % crops differ in up to 10 bits of the phantom's photos and 16 of coffee leaves.
    hash_distance: int = Field(ge=0, le=64, description="bits in which perceptual hashes of copies may differ")
    # Different phantom photos reach 0.82, different coffee leaves 0.55.
    copy_correlation: float = Field(
        ge=0.5, le=1, description="least correlation of detail of two copies; 1 is the very same detail"
    )
    # Chance reaches 0.06 with 763 names.
    name_skill: float = Field(
        gt=0, le=1, description="skill at which labels can be read from names; 0 is chance, 1 is every label"
    )
    probe_epochs: int = Field(ge=1, description="epochs of the small classifier that doubts labels")
    probe_pixels: int = Field(ge=16, le=512, description="size of photos for that classifier")
    seed: int = Field(description="seed of that classifier")
