"""How a stage ends: with its work done, or with one line that a user can act on."""

import sys
from collections.abc import Callable


def run_stage(function: Callable[[], None]) -> None:
    """Run a stage; a user's error becomes one line on stderr and exit status 1, our own bugs keep their traceback."""
    try:
        function()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
