"""Imported first by every stage: sets what has to be set before any library is loaded.

The package comes from the checkout of the stage, whatever else is installed: DVC runs a queued experiment in a copy of
the repository, where the installed package is that of the main checkout. And threads that wait for each other soon
sleep, as `sdaug.run.patience` explains; it is not imported here, since no stage depends on that package.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
