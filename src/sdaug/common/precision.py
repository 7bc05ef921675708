"""Mixed precision: trained weights stay in float32, matrix products and convolutions run in the chosen dtype."""

import torch

from sdaug.common.params import PrecisionName

TENSOR_CORES = (7, 0)  # the compute capability of Volta, the first NVIDIA GPUs that have them


def resolve_precision(name: PrecisionName, device: torch.device) -> torch.dtype:
    """The dtype of a precision name on this device; `auto` is bfloat16 if the hardware supports it, else float32.

    Raises:
        ValueError: float16 on a CPU, where it is slow and has no loss scaling.
    """
    if name == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if name == "fp16" and device.type == "cpu":
        raise ValueError("precision: 'fp16' needs a GPU; on a CPU use fp32, bf16 or auto")
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def precision_warning(name: PrecisionName, device: torch.device) -> str | None:
    """What the device lacks for a precision that it can only emulate or run slowly, or None."""
    if device.type == "cuda" and name == "fp16" and torch.cuda.get_device_capability(device) < TENSOR_CORES:
        lack = "has no tensor cores, so float16 saves memory but little time"
    elif name == "bf16" and not has_bfloat16(device):
        lack = "only emulates bfloat16, which is slower than fp32"
    else:
        return None
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "this CPU"
    return f"precision: {name!r}; {card} {lack}; auto chooses what the hardware has"


def name_precision(dtype: torch.dtype) -> PrecisionName:
    """The device-independent name of a dtype, never `auto`."""
    names: dict[torch.dtype, PrecisionName] = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    return names[dtype]


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware rather than by emulation."""
    if device.type == "cuda":
        # NVIDIA GPUs older than Ampere only emulate bfloat16.
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # AVX-512 alone is not enough: the EPYC of docs/log-2026-11.md has these instructions, the VM does not.
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Autocast to `dtype`, which keeps sums and norms in float32; disabled for float32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)
