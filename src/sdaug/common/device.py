"""Where arithmetic runs, and how it is made to give the same bytes each time."""

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray


def prepare_device(num_threads: int | None = None) -> torch.device:
    """The GPU if there is one, else the CPU, with deterministic algorithms switched on.

    A number of threads makes sums on the CPU independent of how many cores the machine has.
    """
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    _keep_freed_memory()
    torch.use_deterministic_algorithms(True)
    # A guard against reading what nobody wrote; it costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _keep_freed_memory() -> None:
    """Ask glibc to keep what is freed: given back, the system would zero it page by page in each training step."""
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(mmap_threshold, 32 * 2**20)  # the most that it allows
        mallopt(trim_threshold, 2**31 - 1)


def torch_stream(seed: int) -> torch.Generator:
    """A CPU generator of its own, so that the device never changes what is drawn."""
    return torch.Generator().manual_seed(seed)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on the device; a GPU fetches it by itself while the host goes on."""
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: torch.Tensor) -> Callable[[], NDArray[Any]]:
    """Begin to copy a tensor to the host; what comes back waits for it, and for no later work of the device."""
    copied = tensor.to("cpu", non_blocking=True)
    done = torch.cuda.Event() if tensor.is_cuda else None
    if done is not None:
        done.record()

    def wait() -> NDArray[Any]:
        if done is not None:
            done.synchronize()
        return copied.numpy()

    return wait
