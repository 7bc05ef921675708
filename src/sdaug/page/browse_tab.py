"""The tab that browses: one table of all images, with filters and pictures, and each image beside those like it."""

import html
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import numpy as np
from PIL import Image

from sdaug.common.images import read_png
from sdaug.page.draw_tab import DEVICE, POLL_SECONDS, DrawTab
from sdaug.page.image_table import Entry, Images, image_rows, read_images, write_images
from sdaug.page.jobs import Jobs, bar, status
from sdaug.page.messages import as_error, safe, told
from sdaug.page.neighbours import Neighbours
from sdaug.page.parameters import write_parameters
from sdaug.page.study_folder import StudyFolder

PER_PAGE, NUM_LIKE = 50, 8
EVERYTHING, MISTAKES, PHOTOS, SYNTHETIC = "all images", "mistakes", "photos", "synthetic images"
KINDS = (EVERYTHING, MISTAKES, PHOTOS, SYNTHETIC)
ANY = "any"
# Columns of the table that are shown, those of `image_rows`, around the errors of each arm.
FIRST = ("id", "label", "split", "num_wrong")
LAST = ("group", "source", "prompt", "seed", "nearest_photo", "nearest_ratio", "judge_probability")
WIDE = ("id", "source", "prompt")


class BrowseTab:
    """The tab; it reads the study anew when the page is loaded."""

    def __init__(self, folder: StudyFolder, jobs: Jobs, draw: DrawTab, scratch: Path) -> None:
        self.folder, self.jobs, self.draw, self.scratch = folder, jobs, draw, scratch
        self.neighbours = Neighbours(jobs.artist)
        self._images: Images | None = None

    def build(self) -> None:
        """Lay out the tab, inside a `gr.Blocks`."""
        with gr.Row():
            kind = gr.Dropdown(list(KINDS), value=MISTAKES, label="Show", min_width=210)
            split = gr.Dropdown(
                [ANY, "train", "validation", "test", "synthetic"], value=ANY, label="Split", min_width=110
            )
            label = gr.Dropdown([ANY], value=ANY, label="Class", min_width=110)
            words = gr.Textbox(label="Words", placeholder="in any text", min_width=180)
            order = gr.Dropdown([*FIRST, *LAST], value="num_wrong", label="Sort by", min_width=120)
            is_descending = gr.Checkbox(True, label="largest first", min_width=100)
            number = gr.Number(1, label="Page", precision=0, min_width=80)
        self.filters = [kind, split, label, words, order, is_descending, number]
        self.said = gr.HTML(status("Reading the study."), elem_id="browse-status")
        self.table = gr.Dataframe(
            headers=["picture", "id"], datatype="html", interactive=False, max_height=420, elem_id="table"
        )
        self.label, self.order = label, order
        chosen = gr.State("")
        with gr.Row():
            with gr.Column(min_width=300):
                card = gr.HTML(
                    status("Choose a row: the image and those nearest to it are shown here."), elem_id="card"
                )
                with gr.Row():
                    again = gr.Button("Redraw it", min_width=120, interactive=False, elem_id="redraw")
                    to_draw = gr.Button("Its settings to Draw", min_width=120, interactive=False)
                progress = gr.HTML("", elem_id="redraw-status")
                slider = gr.ImageSlider(
                    label="In the study (left), drawn again (right)", type="filepath", visible=False, elem_id="redrawn"
                )
            with gr.Column(min_width=300):
                like = gr.Gallery(
                    label="Nearest images",
                    columns=4,
                    height=420,
                    allow_preview=False,
                    object_fit="contain",
                    buttons=[],
                    elem_id="like",
                )
                like_ids = gr.State([])
        with gr.Row():
            measure = gr.Button("Measure the nearest photo of every synthetic image", size="sm")
            save = gr.Button("Write the whole table as CSV", size="sm")
        file = gr.File(label="CSV", visible=False)
        shown = [chosen, card, again, to_draw, slider, progress]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        slow: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": DEVICE, "api_visibility": "private"}
        far: dict[str, Any] = {**slow, "concurrency_id": "distances"}  # a drawing need not wait for them
        for part in self.filters[:-1]:
            part.change(self._show, self.filters, [self.said, self.table], **quiet)
        number.submit(self._show, self.filters, [self.said, self.table], **quiet)
        number.blur(self._show, self.filters, [self.said, self.table], **quiet)
        self.table.select(self._choose_row, None, shown, **quiet).then(self._find_like, chosen, [like, like_ids], **far)
        like.select(self._choose_like, like_ids, shown, **quiet).then(self._find_like, chosen, [like, like_ids], **far)
        again.click(self._redraw, chosen, [progress, slider], show_progress="hidden", **slow)
        to_draw.click(self._to_draw, chosen, self.draw.filled, **quiet)
        measure.click(self._measure, self.filters, [self.said, self.table], **far)
        save.click(self._save, None, file, api_visibility="private")

    def refresh(self, *filters: Any) -> tuple[Any, ...]:
        """Read the study, and show the first rows, the classes and the columns to sort by."""
        with told():
            images = self._images = read_images(self.folder)
        for remark in images.remarks:
            gr.Info(safe(remark))
        columns = _columns(images)
        kind = filters[0] if images.num_runs else EVERYTHING
        rows = self._show(kind, *filters[1:])
        return (
            gr.Dropdown(choices=list(KINDS), value=kind),
            gr.Dropdown(choices=[ANY, *images.classes]),
            gr.Dropdown(choices=columns),
            *rows,
        )

    @property
    def images(self) -> Images:
        if self._images is None:
            self._images = read_images(self.folder)
        return self._images

    def _entry(self, image_id: str) -> Entry:
        if image_id not in self.images.entries:
            raise ValueError(f"{image_id or 'no image'}: not in the table; choose a row first, or load the page again")
        return self.images.entries[image_id]

    def _show(self, *filters: Any) -> tuple[Any, Any]:
        """The line above the table, and a page of the table."""
        kind, split, label, words, order, is_descending, number = filters
        with told():
            images = self.images
            found = [entry for entry in images.entries.values() if _fits(entry, kind, split, label)]
            rows = [row for row in image_rows(images, found) if _has_words(row, str(words or ""))]
            rows = _sort(rows, str(order), is_descending=bool(is_descending))
        num_pages = max(1, math.ceil(len(rows) / PER_PAGE))
        page = min(max(1, int(number or 1)), num_pages)
        columns = _columns(images)
        part = rows[(page - 1) * PER_PAGE : page * PER_PAGE]
        cells = [[_thumbnail(row["filepath"]), *(_cell(row[column]) for column in columns)] for row in part]
        line = status(f"{len(rows)} of {len(images.entries)} images, page {page} of {num_pages}.")
        widths = ["76px", *("210px" if name in WIDE else "130px" for name in columns)]
        return line, gr.Dataframe(
            value={"headers": ["picture", *columns], "data": cells},
            datatype=["html", *["str"] * len(columns)],
            column_widths=widths,
        )

    def _choose_row(self, event: gr.SelectData) -> tuple[Any, ...]:
        return self._choose(str(event.row_value[1]))

    def _choose_like(self, ids: list[str], event: gr.SelectData) -> tuple[Any, ...]:
        return self._choose(ids[event.index] if event.index < len(ids) else "")

    def _choose(self, image_id: str) -> tuple[Any, ...]:
        with told():
            entry = self._entry(image_id)
        is_synthetic = entry.image is not None
        buttons = [gr.Button(interactive=is_synthetic)] * 2
        return image_id, self._card(entry), *buttons, gr.ImageSlider(value=None, visible=False), ""

    def _card(self, entry: Entry) -> str:
        (row,) = image_rows(self.images, [entry])
        facts = "".join(
            f"<tr><th>{safe(key.replace('_', ' '))}</th><td>{safe(str(value))}</td></tr>"
            for key, value in row.items()
            if value != "" and key != "filepath"
        )
        return f"<div class='card'><img src='{_address(row['filepath'])}' alt=''><table>{facts}</table></div>"

    def _find_like(self, image_id: str, progress: gr.Progress = gr.Progress()) -> tuple[Any, list[str]]:  # noqa: B008
        """The nearest synthetic images of a photo, or the nearest training photos of a synthetic image."""
        if not image_id:
            return gr.skip(), []
        with told():
            entry = self._entry(image_id)
            if entry.image and not self.neighbours.knows_photos(self.images):
                return self._listed(entry)  # to measure all photos for one answer would take long
            find = self.neighbours.nearest_photos if entry.image else self.neighbours.nearest_synthetic
            found = find(self.images, entry, count=NUM_LIKE, hear=lambda share, words: progress(share, desc=words))
        title = f"Nearest {'training photos' if entry.image else 'synthetic images'}, with their distance"
        pictures = [(str(other.path), f"{other.label} {distance:.2f}") for other, distance in found]
        return gr.Gallery(value=pictures, label=title, selected_index=None), [other.id for other, _ in found]

    def _listed(self, entry: Entry) -> tuple[Any, list[str]]:
        """The photo that stage `fidelity` lists as nearest to a synthetic image, if it lists one."""
        photo = self.images.entries.get(entry.nearest.photo) if entry.nearest else None
        pictures = [(str(photo.path), f"{photo.label} {entry.nearest.distance:.2f}")] if photo and entry.nearest else []
        title = "Nearest training photo" if photo else "Nearest training photos: not measured yet (button below)"
        return gr.Gallery(value=pictures, label=title, selected_index=None), [photo.id] if photo else []

    def _redraw(self, image_id: str, request: gr.Request) -> Iterator[tuple[Any, Any]]:
        """Draw an image of the study again, beside its file."""
        with told():
            entry = self._entry(image_id)
            if entry.image is None:
                raise ValueError(f"{image_id}: a photo; choose a synthetic image to redraw")
            self.folder.model_dir(f"{entry.image.label}/{entry.image.draw}")
        with self.jobs.run(request.session_hash, [entry.image]) as job:
            while not job.wait(POLL_SECONDS):
                yield bar(job), gr.skip()
        if job.error is not None:
            yield status("Not drawn."), gr.skip()
            if job.was_stopped:
                return
            raise as_error(job.error)
        pixels = job.images[0][1].pixels
        path = self.scratch / "redrawn" / f"{entry.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        largest = int(np.abs(read_png(entry.path).astype(int) - pixels).max())
        words = "no pixel differs" if largest == 0 else f"pixels differ by at most {largest} of 255"
        slider = gr.ImageSlider(value=(str(entry.path), str(path)), visible=True)
        yield status(f"Drawn again as `sdaug redraw` does: {words}."), slider

    def _to_draw(self, image_id: str) -> list[Any]:
        """The settings of a synthetic image, for the fields of the tab Draw."""
        with told():
            image = self._entry(image_id).image
            if image is None:
                raise ValueError(f"{image_id}: a photo; choose a synthetic image")
            if image.photo:
                raise ValueError(
                    f"{image_id}: started from photo {image.photo}, and the tab Draw starts from noise; use Redraw it"
                )
        text = write_parameters(
            {
                **{key: getattr(image, key) for key in ("prompt", "width", "height", "seed")},
                **{
                    key: getattr(image.drawing, key)
                    for key in ("negative_prompt", "guidance_scale", "sampler", "batch_size", "precision")
                },
                "steps": image.drawing.inference_steps,
                "model": f"{image.label}/{image.draw}",
            }
        )
        gr.Info("The tab Draw has these settings now.")
        return self.draw.restore(text)

    def _measure(self, *filters: Any, progress: gr.Progress = gr.Progress()) -> tuple[Any, Any]:  # noqa: B008
        with told():
            hear = lambda share, words: progress(share, desc=words)  # noqa: E731
            self._images = self.neighbours.with_nearest(self.images, hear)
        return self._show(*filters)

    def _save(self) -> Any:
        path = self.scratch / "images.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with told():
            write_images(path, self.images)
        return gr.File(value=str(path), visible=True)


def _columns(images: Images) -> list[str]:
    return [*FIRST, *(f"wrong_{arm}" for arm in images.arms), *LAST]


def _fits(entry: Entry, kind: str, split: str, label: str) -> bool:
    is_wanted = {
        MISTAKES: entry.num_wrong > 0,
        PHOTOS: entry.image is None,
        SYNTHETIC: entry.image is not None,
    }.get(kind, True)
    return is_wanted and split in (ANY, entry.split) and label in (ANY, entry.label)


def _has_words(row: dict[str, Any], words: str) -> bool:
    text = " ".join(str(row[key]) for key in ("id", "group", "prompt", "seed", "source", "nearest_photo")).lower()
    return all(word in text for word in words.lower().split())


def _sort(rows: list[dict[str, Any]], column: str, *, is_descending: bool) -> list[dict[str, Any]]:
    """By one column, then by id; rows without a value come last."""
    known = [row for row in rows if row.get(column, "") != ""]
    known.sort(key=lambda row: row["id"])
    known.sort(key=lambda row: row[column], reverse=is_descending)
    return known + [row for row in rows if row.get(column, "") == ""]


def _cell(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _address(path: str) -> str:
    return html.escape(f"/gradio_api/file={quote(path)}", quote=True)


def _thumbnail(path: str) -> str:
    return f'<img src="{_address(path)}" width="48" height="48" loading="lazy" alt="">'
