"""Running a stage and reporting user errors."""

import sys
from collections.abc import Callable


def run_stage(function: Callable[[], None]) -> None:
    """Run a stage; user errors become one line on stderr and exit status 1, bugs keep their traceback."""
    try:
        function()
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
