"""The tab that draws: fields in the order of AUTOMATIC1111's web UI, progress, and the images with their text."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import gradio as gr
from PIL import Image

from sdaug.common.params import PrecisionName, SamplerName
from sdaug.page.jobs import Job, Jobs, bar, status
from sdaug.page.messages import as_error, safe, told
from sdaug.page.orders import Order, base_order, make_order
from sdaug.page.parameters import NAMES, parameters_of, read_parameters, save_with_parameters
from sdaug.page.study_folder import BASE, StudyFolder

POLL_SECONDS = 0.2
DEVICE = "device"  # whatever computes takes turns
FIELDS = (
    "prompt",
    "negative_prompt",
    "sampler",
    "steps",
    "width",
    "height",
    "guidance_scale",
    "seed",
    "batch_count",
    "batch_size",
    "precision",
)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where the tab shows what it draws; `texts` are the parameters of all images of the gallery."""

    status: gr.HTML
    gallery: gr.Gallery
    texts: gr.State
    text: gr.Textbox
    slider: gr.ImageSlider
    last_seed: gr.State


class DrawTab:
    """The tab; `scratch` is a folder for what it draws."""

    def __init__(self, folder: StudyFolder, jobs: Jobs, scratch: Path) -> None:
        self.folder, self.jobs, self.scratch = folder, jobs, scratch
        self._num_jobs = 0

    def build(self) -> None:
        """Lay out the tab, inside a `gr.Blocks`."""
        with gr.Row():
            with gr.Column(min_width=300):
                fields = self._fields()
                with gr.Row():
                    generate = gr.Button("Generate", variant="primary", min_width=120)
                    interrupt = gr.Button("Interrupt", variant="stop", min_width=120)
                compare = gr.Button("Before and after DreamBooth: draw this seed with the base, too")
                with gr.Accordion("Restore all fields from an image or its text", open=False):
                    pasted = gr.Textbox(label="Parameters to restore", lines=3, placeholder="paste the text here")
                    restore = gr.Button("Restore")
                    dropped = gr.File(label="or drop a PNG file that was drawn here or by AUTOMATIC1111", height=110)
            with gr.Column(min_width=300):
                outputs = self._outputs()
                reuse = gr.Button("Reuse this seed", size="sm")
        self._wire(fields, outputs, generate=generate, interrupt=interrupt, compare=compare)
        self.filled = note = [*fields.values(), pasted]
        restore.click(lambda text: self.restore(text), pasted, note, show_progress="hidden", api_visibility="private")
        dropped.upload(self._restore_file, dropped, note, show_progress="hidden", api_visibility="private")
        reuse.click(lambda seed: seed, outputs.last_seed, fields["seed"], api_visibility="private")

    def refresh(self) -> Any:
        """The models that are on disk now."""
        return gr.Dropdown(choices=self.folder.list_models())

    def _fields(self) -> dict[str, Any]:
        start, models, prompts = self.folder.drawing(), self.folder.list_models(), self.folder.prompts()
        model = next((name for name in models if name != BASE), models[0] if models else None)
        size = self.folder.size_pixels()
        fields: dict[str, Any] = {
            "model": gr.Dropdown(
                models,
                value=model,
                label="Model",
                info="base, or the generator of a class and seed",
                allow_custom_value=True,  # so that one that has gone is told in our words
            ),
            "prompt": gr.Textbox(prompts.get(model or "", ""), label="Prompt", lines=2),
            "negative_prompt": gr.Textbox(start.negative_prompt, label="Negative prompt"),
        }
        with gr.Row():
            samplers = [(NAMES[name], name) for name in get_args(SamplerName)]
            fields["sampler"] = gr.Dropdown(samplers, value=start.sampler, label="Sampler", min_width=120)
            fields["steps"] = gr.Number(start.inference_steps, label="Steps", precision=0, min_width=90)
        with gr.Row():
            fields["width"] = gr.Number(size, label="Width", precision=0, step=8, min_width=90)
            fields["height"] = gr.Number(size, label="Height", precision=0, step=8, min_width=90)
            fields["guidance_scale"] = gr.Number(start.guidance_scale, label="Guidance scale", step=0.5, min_width=90)
        with gr.Row():
            fields["seed"] = gr.Number(-1, label="Seed (-1: any)", precision=0, min_width=110)
            fields["batch_count"] = gr.Number(1, label="Batch count", precision=0, min_width=90)
            fields["batch_size"] = gr.Number(start.batch_size, label="Batch size", precision=0, min_width=90)
        fields["precision"] = gr.Dropdown(
            list(get_args(PrecisionName)),
            value=start.precision,
            label="Precision",
            info="auto: bf16 on a GPU that has it",
        )
        self.model = fields["model"]
        return fields

    def _outputs(self) -> Outputs:
        line = gr.HTML(status("Nothing drawn yet."), elem_id="status")
        gallery = gr.Gallery(
            label="Images",
            columns=4,
            height=460,
            object_fit="contain",
            buttons=["download", "download_all", "fullscreen"],
        )
        return Outputs(
            status=line,
            gallery=gallery,
            texts=gr.State([]),
            text=gr.Textbox(label="Parameters of the chosen image", lines=3, interactive=False, buttons=["copy"]),
            slider=gr.ImageSlider(
                label="Same seed: base (left), generator (right)", type="filepath", visible=False, buttons=["download"]
            ),
            last_seed=gr.State(-1),
        )

    def _wire(self, fields: dict[str, Any], out: Outputs, **buttons: gr.Button) -> None:
        shown = [out.status, out.gallery, out.texts, out.text, out.slider, out.last_seed]
        for button, work in ((buttons["generate"], self._draw), (buttons["compare"], self._compare)):
            button.click(
                work,
                list(fields.values()),
                shown,
                concurrency_limit=1,
                concurrency_id=DEVICE,
                show_progress="hidden",
                api_visibility="private",
            )
        buttons["interrupt"].click(self._interrupt, queue=False, api_visibility="private")
        fields["model"].input(
            self._suggest, [fields["model"], fields["prompt"]], fields["prompt"], api_visibility="private"
        )
        out.gallery.select(_choose, out.texts, out.text, show_progress="hidden", api_visibility="private")

    def _suggest(self, model: str, prompt: str) -> str:
        """The prompt of a model, in place of that of another one; what the user wrote stays."""
        prompts = self.folder.prompts()
        return prompts.get(model, prompt) if prompt.strip() in {"", *prompts.values()} else prompt

    def _interrupt(self, request: gr.Request) -> None:
        if not self.jobs.stop(request.session_hash):
            gr.Info("Nothing is being drawn here.")

    def _draw(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        with told():
            order = self._order(values)
        yield from self._run([order], request)

    def _compare(self, request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        with told():
            order = self._order(values)
            if order.model == BASE:
                raise ValueError("Model: 'base' is what is before DreamBooth; choose the generator of a class")
            self.folder.model_dir(BASE)
        yield from self._run([base_order(order), order], request)

    def _order(self, values: tuple[Any, ...]) -> Order:
        order = make_order(dict(zip(("model", *FIELDS), values, strict=True)))
        self.folder.model_dir(order.model)
        return self.jobs.artist.resolve(order)

    def _run(self, orders: list[Order], request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Draw, and yield what is to be shown whenever there is more of it."""
        begin, seed = time.monotonic(), orders[-1].seed
        self._num_jobs += 1
        folder = self.scratch / str(self._num_jobs)
        folder.mkdir(parents=True)
        said, files = "", list[tuple[Path, str]]()
        with self.jobs.run(request.session_hash, orders) as job:
            yield bar(job), [], [], "", gr.ImageSlider(visible=False), seed
            is_done = False
            while not is_done:
                is_done = job.wait(POLL_SECONDS)
                is_fresh, words = _save(job, folder, files), bar(job)
                if is_fresh or words != said:
                    said = words
                    yield words, *_gallery(files, is_fresh=is_fresh), gr.skip(), seed
        if job.error is not None and not job.was_stopped:
            yield status("Not drawn; the message says why."), *_gallery(files, is_fresh=True), gr.skip(), seed
            raise as_error(job.error)
        words = _summary(job, orders, time.monotonic() - begin)
        yield words, *_gallery(files, is_fresh=True), _slider(files, orders), seed

    def _restore_file(self, path: str) -> list[Any]:
        with told():
            text = parameters_of(Path(path))
        return self.restore(text)

    def restore(self, text: str) -> list[Any]:
        """Values of all fields, and the text itself; a field that the text does not name stays as it is."""
        with told():
            found = read_parameters(text)
        values, remarks = dict(found.values), list(found.remarks)
        if "model" in values and values["model"] not in self.folder.list_models():
            remarks.append(f"Model: {values.pop('model')!r} is not in this study; choose one that is")
        for remark in remarks:
            gr.Warning(safe(f"{remark}; that field stays as it is"), duration=None)
        values = {"batch_count": 1} | values
        return [*(values.get(name, gr.skip()) for name in ("model", *FIELDS)), text]


def _choose(texts: list[str], event: gr.SelectData) -> str:
    return texts[event.index] if event.index < len(texts) else ""


def _save(job: Job, folder: Path, files: list[tuple[Path, str]]) -> bool:
    """Save the images that are new, with their text; says whether there are any."""
    new = job.images[len(files) :]
    for order, image in new:
        assert isinstance(order, Order)
        text = order.parameters(image.seed)
        name = re.sub(r"\W+", "-", order.model)
        path = folder / f"{len(files):04d}_{name}_seed_{image.seed:010d}.png"
        save_with_parameters(path, Image.fromarray(image.pixels), text)
        files.append((path, text))
    return bool(new)


def _gallery(files: list[tuple[Path, str]], *, is_fresh: bool) -> tuple[Any, Any, Any]:
    if not is_fresh:
        return gr.skip(), gr.skip(), gr.skip()
    texts = [text for _, text in files]
    return [str(path) for path, _ in files], texts, texts[0] if texts else ""


def _slider(files: list[tuple[Path, str]], orders: list[Order]) -> Any:
    """The first images of two orders, if both were drawn."""
    after = orders[0].drawing.batch_size
    if len(orders) == 1 or len(files) <= after:
        return gr.skip()
    return gr.ImageSlider(value=(str(files[0][0]), str(files[after][0])), visible=True)


def _summary(job: Job, orders: list[Order], seconds: float) -> str:
    wanted, order = sum(len(order.seeds) for order in orders), orders[-1]
    faulty = sum(not image.is_finite for _, image in job.images)
    words = f"{len(job.images)} images in {seconds:.1f} s, seed {order.seed}"
    if job.was_stopped:
        words = f"Interrupted: {len(job.images)} of {wanted} images were drawn, seed {order.seed}; the device is free"
    if faulty:
        words += f"; {faulty} hold values that are not finite: use precision fp32"
    return status(f"{words}.")
