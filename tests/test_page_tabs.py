"""The tabs of `sdaug page` as a browser shows them, on a phone and on a wide screen, with names made to break them."""

import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
playwright.expect.set_options(timeout=60_000)  # two processes share two cores
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome, which is not installed here")

from page_studies import HOSTILE, PROMPT, SIZE, served, write_page_study  # noqa: E402
from PIL import Image  # noqa: E402

from sdaug.common.images import read_png  # noqa: E402
from sdaug.common.synthetic import read_synthetic  # noqa: E402
from sdaug.page.parameters import parameters_of  # noqa: E402

MODEL = f"{HOSTILE}/0"
PATIENCE = 180_000  # milliseconds, for a busy machine
Page = Any
Opener = Callable[[int], Page]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_page_study(folder)
    return folder


@pytest.fixture(scope="module")
def address(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(root, tmp_path_factory.mktemp("scratch")) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as tools:
        started = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Opener]:
    """Opens the page at a width; at the end, nothing may have been asked of another host, nor said in the console."""
    contexts, asked, said = [], list[str](), list[str]()

    def open_at(width: int) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 1000}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        page.get_by_role("button", name="Generate").wait_for()
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith((address, "data:", f"blob:{address}"))] == []
    assert [words for words in said if "Refused" in words or "Error" in words] == []


def show(page: Page, tab: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()


def fill(page: Page, **values: object) -> None:
    for label, value in values.items():
        page.get_by_label(label.replace("_", " "), exact=True).first.fill(str(value))


def generate(page: Page) -> None:
    page.get_by_role("button", name="Generate").click()


def status(page: Page, words: str) -> str:
    line = page.locator("#status").filter(has_text=re.compile(words))
    line.wait_for()
    return str(line.inner_text())


def excess(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def choose_model(page: Page, name: str) -> None:
    page.get_by_label("Model", exact=True).first.click()
    page.get_by_role("option", name=name, exact=True).click()


@pytest.mark.parametrize("width", [390, 1440])
def test_drawn_image_downloads_with_its_text_and_restores_all_fields(
    open_page: Opener, root: Path, tmp_path: Path, width: int
) -> None:
    page = open_page(width)
    image = read_synthetic(root / "data" / "synthetic" / HOSTILE)[0]
    assert page.get_by_label("Prompt", exact=True).first.input_value() == PROMPT
    page.get_by_label("Seed (-1: any)").fill(str(image.seed))
    generate(page)
    assert "4 images in" in status(page, "images in") and excess(page) <= 0
    # The file, as the gallery serves it.
    source = page.locator(".gallery-container img, .grid-container img").first.get_attribute("src")
    file = tmp_path / "drawn.png"
    with urllib.request.urlopen(source) as answer:
        file.write_bytes(answer.read())
    assert read_png(file).tobytes() == read_png(root / "data" / "synthetic" / HOSTILE / image.file_name).tobytes()
    assert f"Seed: {image.seed}," in parameters_of(file)
    # Everything else, then back by dropping the file.
    fill(page, Prompt="another", Negative_prompt="none", Steps=9, Width=32, Height=32, Guidance_scale=1)
    page.get_by_label("Seed (-1: any)").fill("1")
    fill(page, Batch_count=2, Batch_size=3)
    choose_model(page, "base")
    page.get_by_text("Restore all fields").click()
    page.locator("input[type=file]").first.set_input_files(file)
    playwright.expect(page.get_by_label("Seed (-1: any)")).to_have_value(str(image.seed))
    found = {
        label: page.get_by_label(label, exact=True).first.input_value()
        for label in ("Model", "Prompt", "Negative prompt", "Steps", "Width", "Height", "Guidance scale", "Batch size")
    }
    assert list(found.values()) == [MODEL, PROMPT, "grey", "3", str(SIZE), str(SIZE), "2.5", "4"]
    assert page.get_by_label("Batch count", exact=True).input_value() == "1"


def test_pasted_text_fills_the_fields_and_tells_what_it_cannot(open_page: Opener) -> None:
    page = open_page(1440)
    page.get_by_text("Restore all fields").click()
    text = (
        "a cow\nNegative prompt: fog\nSteps: 5, Sampler: Heun, CFG scale: 4, Seed: 12, Size: 24x16, Model: <img src=x>"
    )
    page.get_by_label("Parameters to restore").fill(text)
    page.get_by_role("button", name="Restore", exact=True).click()
    playwright.expect(page.get_by_label("Seed (-1: any)")).to_have_value("12")
    page.get_by_text("Sampler: 'Heun' is not known here").wait_for()
    page.get_by_text("Model: '<img src=x>' is not in this study").wait_for()
    assert page.get_by_label("Model", exact=True).first.input_value() == MODEL


def test_interrupt_ends_a_long_drawing_and_the_next_one_is_drawn(open_page: Opener) -> None:
    page = open_page(1440)
    fill(page, Steps=1000, Batch_count=100)
    generate(page)
    status(page, r"step [1-9]")
    page.get_by_role("button", name="Interrupt").click()
    assert "the device is free" in status(page, r"Interrupted: \d+ of 400 images")
    fill(page, Steps=2, Batch_count=1)
    generate(page)
    status(page, "4 images in")


def test_closing_the_tab_ends_its_drawing(open_page: Opener) -> None:
    page = open_page(1440)
    fill(page, Steps=1000, Batch_count=100)
    generate(page)
    status(page, r"step [1-9]")
    page.close()
    other = open_page(1440)  # it waits for the device
    fill(other, Steps=2)
    generate(other)
    status(other, "4 images in")


def test_base_and_generator_are_shown_side_by_side(open_page: Opener) -> None:
    page = open_page(1440)
    page.get_by_role("button", name="Before and after").click()
    status(page, "8 images in")
    page.get_by_text("Same seed: base (left)").wait_for()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"Prompt": ""}, "Prompt: empty; say what to draw"),
        ({"Width": 20}, "Width: 20, need a multiple of 8"),
        ({"Batch_count": 100000}, "Batch count: 100000, need a whole number from 1 to 400"),
    ],
)
def test_orders_that_cannot_be_drawn_are_told(open_page: Opener, values: dict[str, Any], message: str) -> None:
    page = open_page(390)
    fill(page, **values)
    generate(page)
    page.get_by_text(message).wait_for()


def test_a_generator_that_has_gone_is_told_by_its_name_as_text(open_page: Opener, root: Path) -> None:
    page = open_page(1440)
    folder = root / "models" / "dreambooth" / HOSTILE / "0"
    folder.rename(root / "gone")
    try:
        generate(page)
        page.get_by_text("not in models/; there are base").wait_for()
        assert page.locator(".toast-wrap b", has_text="x' & y").count() == 0
    finally:
        (root / "gone").rename(folder)


@pytest.mark.parametrize("width", [390, 1440])
def test_from_a_mistake_to_the_photo_to_a_synthetic_image_to_its_redraw_in_three_clicks(
    open_page: Opener, width: int
) -> None:
    page = open_page(width)
    show(page, "Browse")
    page.get_by_text("1 of 18 images, page 1 of 1").wait_for()
    page.locator("#table").get_by_text("test03").locator("visible=true").first.click()
    page.locator("#card").get_by_text("test03").wait_for()
    page.locator("#like .grid-container button").first.click()
    page.locator("#card").get_by_text("synthetic-").first.wait_for()
    page.locator("#redraw").click()
    page.locator("#redraw-status").get_by_text("no pixel differs").wait_for()
    assert excess(page) <= 0
    # Names and prompts of the card are text.
    assert HOSTILE in page.locator("#card").inner_text() and PROMPT in page.locator("#card").inner_text()
    assert page.locator("#card b, #card i").count() == 0


def test_table_filters_by_kind_and_words_and_shows_pictures(open_page: Opener) -> None:
    page = open_page(1440)
    show(page, "Browse")
    page.get_by_label("Show", exact=True).click()
    page.get_by_role("option", name="all images").click()
    page.get_by_text("18 of 18 images").wait_for()
    page.get_by_label("Words", exact=True).fill("synthetic zwa")
    page.get_by_text("6 of 18 images").wait_for()
    page.wait_for_function(
        "[...document.querySelectorAll('#table img')].filter(i => i.offsetParent && i.naturalWidth == 16).length >= 3"
    )


@pytest.mark.parametrize("width", [390, 1440])
def test_photos_of_all_depths_are_predicted_by_two_models(open_page: Opener, tmp_path: Path, width: int) -> None:
    page = open_page(width)
    show(page, "Predict")
    deep = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep <b>.png")
    Image.new("RGB", (30, 50), "red").save(tmp_path / "red.tiff")
    page.locator("#photos input[type=file]").set_input_files([tmp_path / "deep <b>.png", tmp_path / "red.tiff"])
    page.locator("#predicted table").nth(3).wait_for()
    captions = page.locator("#predicted caption").all_inner_texts()
    assert captions == ["tiny-original/0", "tiny-augmented/0"] * 2 and excess(page) <= 0
    assert page.locator("#predicted th").all_inner_texts()[:2] == ["plain", HOSTILE]
    assert page.locator("#predicted b").count() == 0


def test_a_file_that_is_no_photo_is_named(open_page: Opener, tmp_path: Path) -> None:
    page = open_page(390)
    show(page, "Predict")
    (tmp_path / "notes.jpg").write_text("not a photo")
    page.locator("#photos input[type=file]").set_input_files(tmp_path / "notes.jpg")
    page.get_by_text(re.compile("^notes.jpg: not a JPEG")).wait_for()


@pytest.mark.parametrize("width", [390, 1440])
def test_report_is_shown_and_a_plan_is_made_of_assumptions(open_page: Opener, width: int) -> None:
    page = open_page(width)
    show(page, "Study")
    page.frame_locator("iframe.report").get_by_text("The verdict stands here.").wait_for()
    page.get_by_text("Plan: how many").click()
    options = page.get_by_label("Options of")
    options.fill("--photo-sd 40 --run-sd 3 --draw-sd 2 --test-photos 50,50")
    options.press("Enter")
    page.wait_for_function("[...document.querySelectorAll('textarea')].some(t => t.value.includes('smallest effect'))")
    options.fill("--out x.csv")
    page.get_by_role("button", name="Plan", exact=True).click()
    page.get_by_text("the page writes no files").wait_for()
    assert excess(page) <= 0


def fetch(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_only_images_and_the_report_of_the_study_can_be_fetched(address: str, root: Path) -> None:
    images = root / "data" / "prepared" / "images"
    assert fetch(f"{address}gradio_api/file={images}/test01.png") == 200
    assert fetch(f"{address}report/index.html") == 200
    refused = [
        "gradio_api/file=/etc/hostname",
        f"gradio_api/file={root}/secret.txt",
        f"gradio_api/file={root}/params.yaml",
        f"gradio_api/file={images}/../../../secret.txt",
        f"gradio_api/file={images}/{quote('../../../secret.txt', safe='')}",
        "report/../secret.txt",
        "report/%2e%2e/secret.txt",
    ]
    assert [path for path in refused if fetch(address + path) not in (403, 404)] == []


def test_names_of_other_hosts_are_refused(address: str) -> None:
    assert fetch(address, Host="page.example") == 400
