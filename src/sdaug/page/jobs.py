"""Drawing in the background, with progress, until it is done or stopped."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sdaug.common.progress import listener
from sdaug.common.synthetic import SyntheticImage
from sdaug.diffusion.sampling import DrawnImage
from sdaug.diffusion.versions import Pipeline
from sdaug.page.messages import safe
from sdaug.page.orders import Artist, Order

Work = Order | SyntheticImage  # something new, or an image of the study once more


class StoppedError(Exception):
    """The user has stopped the drawing."""


@dataclass
class Progress:
    """How far a job is: steps of the sampler over all batches, and images by the progress bar of `sampling`."""

    title: str = "loading the model"
    num_images: int = 0
    total: int = 0
    num_steps: int = 0
    total_steps: int = 0

    def describe(self) -> str:
        if not self.total_steps:
            return self.title
        return f"{self.title}: step {self.num_steps} of {self.total_steps}, image {self.num_images} of {self.total}"

    @property
    def share(self) -> float:
        return min(1.0, self.num_steps / self.total_steps) if self.total_steps else 0.0


class Job:
    """Orders drawn by a thread of their own, which ends within one pass of the UNet after `stop`."""

    def __init__(self, artist: Artist, orders: Sequence[Work]) -> None:
        self.artist, self.orders = artist, list(orders)
        self.images: list[tuple[Work, DrawnImage]] = []
        self.error: Exception | None = None
        self.progress = Progress()
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end, at most so long; says whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def was_stopped(self) -> bool:
        return isinstance(self.error, StoppedError)

    def _run(self) -> None:
        listener.set(self._hear)
        try:
            for order in self.orders:
                self._draw(order)
        except Exception as error:  # noqa: BLE001 - shown by the page, in the thread that waits for this one
            # Without its traceback, whose frames hold latents.
            self.error = error.with_traceback(None) if isinstance(error, StoppedError) else error
        if self.error is not None:
            self.artist.release()

    def _draw(self, work: Work) -> None:
        if self._stop.is_set():
            raise StoppedError
        model = work.model if isinstance(work, Order) else f"{work.label}/{work.draw}"
        pipeline = self.artist.load(model, work.drawing)
        num_batches = work.num_batches if isinstance(work, Order) else 1
        steps = num_batches * work.drawing.inference_steps
        self.progress = Progress(title=model, total=num_batches * work.drawing.batch_size, total_steps=steps)
        with self._watch(pipeline):
            if isinstance(work, Order):
                for image in self.artist.draw(work):
                    self.images.append((work, image))
            else:
                self.images.append((work, DrawnImage(work.seed, self.artist.redraw(work), True)))

    def _hear(self, title: str, done: int, total: int) -> None:
        self.progress.title, self.progress.num_images, self.progress.total = title, done, total

    @contextmanager
    def _watch(self, pipeline: Pipeline) -> Iterator[None]:
        """Count passes of the UNet, and end the work before the next one once it is stopped."""

        def count(*_: object) -> None:
            if self._stop.is_set():
                raise StoppedError
            with self._lock:  # small batches are drawn by several threads
                self.progress.num_steps += 1

        def check(*_: object) -> None:
            if self._stop.is_set():
                raise StoppedError

        hooks = [
            pipeline.unet.register_forward_pre_hook(count),
            pipeline.vae.decoder.register_forward_pre_hook(check),
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class Jobs:
    """The running job of each browser tab, by its session."""

    def __init__(self, artist: Artist) -> None:
        self.artist = artist
        self._running: dict[str, Job] = {}

    @contextmanager
    def run(self, session: str | None, orders: Sequence[Work]) -> Iterator[Job]:
        """A started job, which is stopped at the end of the block, as when the browser's tab is closed."""
        job = Job(self.artist, orders)
        self._running[str(session)] = job
        job.start()
        try:
            yield job
        finally:
            job.stop()
            self._running.pop(str(session), None)

    def stop(self, session: str | None) -> bool:
        """Stop the job of a tab; says whether there was one."""
        job = self._running.get(str(session))
        if job is not None:
            job.stop()
        return job is not None


def status(words: str) -> str:
    """A line of status in HTML."""
    return f"<p class='status' role='status'>{safe(words)}</p>"


def bar(job: Job) -> str:
    """A job's progress in HTML."""
    share = f"{100 * job.progress.share:.0f}"
    words = safe(job.progress.describe())
    return f"<p class='status' role='status'><progress max='100' value='{share}'></progress> {words}</p>"
