"""Imported first by every stage: the package comes from the checkout of the stage, whatever else is installed.

DVC runs a queued experiment in a copy of the repository, where the installed package is that of the main checkout.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
