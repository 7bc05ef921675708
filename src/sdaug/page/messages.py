"""What the page says: errors of the user as one message each, and text that is safe in HTML."""

import html
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from sdaug.common.stage import escape, explain


@contextmanager
def told() -> Iterator[None]:
    """Show an error that the user can mend; bugs keep their traceback, in the terminal."""
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise as_error(error) from error


def as_error(error: Exception) -> Exception:
    """What Gradio shows of an error; it would show a message as HTML, and messages have names of files in them."""
    message = explain(error)
    return error if message is None else gr.Error(safe(message), duration=None, print_exception=False)


def safe(text: str) -> str:
    """Text of files and folders as HTML."""
    return html.escape(escape(text))
