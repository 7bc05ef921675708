"""Device selection, deterministic setup and host-device copies."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from numpy.typing import NDArray

from sdaug.common.cpu_speed import keep_freed_memory

Tensors = Iterable[torch.Tensor]


def prepare_device(num_threads: int | None = None) -> torch.device:
    """The GPU if there is one, else the CPU, with deterministic algorithms enabled.

    A fixed `num_threads` makes CPU reductions independent of the machine's number of cores.
    """
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    keep_freed_memory()
    torch.use_deterministic_algorithms(True)
    # Filling only guards against reads of uninitialised memory, and it costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False  # True would choose algorithms by timing, which differs from run to run
    return find_device()


def find_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def announce(work: str, device: torch.device, precision: str, weights: Tensors, trained: Tensors = ()) -> None:
    """Say at the start of long work where it runs, and what memory it expects beside that of its batches.

    Trained weights take four times their size: with their gradient, and two moments of the optimizer.
    """
    size = sum(tensor.nbytes for tensor in weights) + 3 * sum(tensor.nbytes for tensor in trained)
    name = "the CPU"
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        name = f"{torch.cuda.get_device_name(device)} ({free / 1e9:.0f} of {total / 1e9:.0f} GB are free)"
    text = f"{work}: on {name}, precision {precision}, expects {size / 1e9:.2f} GB and more for its batches"
    print(text, file=sys.stderr, flush=True)


def torch_stream(seed: int) -> torch.Generator:
    """A seeded CPU generator, so that random numbers do not depend on the device."""
    return torch.Generator().manual_seed(seed)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A CPU tensor on `device`; the copy to a GPU is asynchronous, from pinned memory."""
    # A copy from pageable memory would make the host wait.
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: torch.Tensor) -> Callable[[], NDArray[Any]]:
    """Start an asynchronous copy to the host; the returned function waits for this copy only, not for later work."""
    copied = tensor.to("cpu", non_blocking=True)
    done = torch.cuda.Event() if tensor.is_cuda else None
    if done is not None:
        done.record()

    def wait() -> NDArray[Any]:
        if done is not None:
            done.synchronize()
        return copied.numpy()

    return wait
