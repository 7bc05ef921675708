"""Section `audit` of params.yaml."""

from dataclasses import dataclass
from typing import Literal

from sdaug.common.sections import require

OnLeak = Literal["fail", "report"]


@dataclass(frozen=True, kw_only=True)
class AuditParams:
    """Section `audit`: what counts as a leak, and what then happens."""

    on_leak: OnLeak
    hash_distance: int  # 2 % crops differ in up to 10 bits of the phantom's photos and 16 of coffee leaves
    copy_correlation: float  # different phantom photos reach 0.82, different coffee leaves 0.55
    name_skill: float  # chance reaches 0.06 with 763 names
    probe_epochs: int
    probe_pixels: int
    seed: int

    def __post_init__(self) -> None:
        require(0 <= self.hash_distance <= 64, "hash_distance", self.hash_distance, "need 0 to 64 bits")
        is_fit = 0.5 <= self.copy_correlation <= 1
        require(is_fit, "copy_correlation", self.copy_correlation, "need 0.5 to 1; 1 is the very same detail")
        require(0 < self.name_skill <= 1, "name_skill", self.name_skill, "need more than 0, at most 1 (every label)")
        require(self.probe_epochs >= 1, "probe_epochs", self.probe_epochs, "need 1 or more")
        require(16 <= self.probe_pixels <= 512, "probe_pixels", self.probe_pixels, "need 16 to 512")
