"""The page as a browser shows it, on a phone, on a wide screen and in print."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from studies import report, write_pairs, write_study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome, which is not installed here")

# Answers with what only a browser knows, once everything is loaded.
MEASURE = """<script>addEventListener("load", () => parent.postMessage(JSON.stringify({
  width: innerWidth,
  excess: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  wide: [...document.querySelectorAll("main *")].filter(e => !e.closest(".wide, pre")
    && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 80)),
  images: document.images.length,
  broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,
  verdict: document.querySelector(".finding .effect").getBoundingClientRect().bottom,
}), "*"))</script>"""
# A frame is as narrow as it likes; a window of Chromium is not.
FRAME = """<!DOCTYPE html><title>waiting</title><body>
<script>addEventListener("message", event => {{ document.title = event.data; }})</script>
<iframe src="measured.html" style="width: {width}px; height: 900px; border: 0"></iframe>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study with closest pairs, so that it has all sections but the dose."""
    root = tmp_path_factory.mktemp("study")
    write_study(root)
    write_pairs(root)
    report(root, "--closest-pairs", "metrics/closest_pairs.csv")
    return root / "report" / "index.html"


def browse(folder: Path, *words: str) -> tuple[str, list[str]]:
    """What Chromium prints, and the messages of the page's console."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--virtual-time-budget=10000"]
    result = subprocess.run([*command, *words], capture_output=True, text=True, check=True, timeout=120)
    return result.stdout, re.findall(r"CONSOLE.*", result.stderr)


def measure(page: Path, folder: Path, *, width: int) -> dict[str, Any]:
    html = page.read_text().replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'")
    (folder / "measured.html").write_text(html.replace("</body>", f"{MEASURE}</body>"))
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width))
    dumped, _ = browse(folder, f"--window-size={max(width, 500)},900", "--dump-dom", frame.as_uri())
    title = re.search(r"<title>(.*?)</title>", dumped, re.DOTALL)
    assert title is not None
    found: dict[str, Any] = json.loads(unescape(title[1]))
    return found


@pytest.mark.parametrize("width", [390, 1440])
def test_page_fits_the_screen_with_the_verdict_in_sight(page: Path, tmp_path: Path, width: int) -> None:
    found = measure(page, tmp_path, width=width)
    assert found["width"] == width and found["images"] > 20
    assert (found["excess"], found["wide"], found["broken"]) == (0, [], 0)
    assert found["verdict"] < 600


def test_page_says_nothing_in_the_console(page: Path, tmp_path: Path) -> None:
    _, messages = browse(tmp_path, "--dump-dom", page.as_uri())
    assert messages == []


def test_scripts_and_requests_are_refused_by_the_page_itself(page: Path, tmp_path: Path) -> None:
    html = page.read_text().replace("</main>", '<img src="http://localhost:9/x.png"><script>1</script></main>')
    (tmp_path / "attacked.html").write_text(html)
    _, messages = browse(tmp_path, "--dump-dom", (tmp_path / "attacked.html").as_uri())
    assert len([message for message in messages if "Content Security Policy" in message]) == 2


def test_page_prints_to_a_few_sheets(page: Path, tmp_path: Path) -> None:
    browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'page.pdf'}", page.as_uri())
    printed = (tmp_path / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF-")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 30
