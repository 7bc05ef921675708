"""Benchmark of OpenMP wait policies: step time of the tiny UNet, alone and next to a second training run.

Prints one line per measurement, then one JSON object: milliseconds per step, and each policy's ratio to the default,
where above 1 is slower. A policy is the value of OMP_WAIT_POLICY; the default leaves it unset.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

POLICIES = ("default", "passive", "active")
# A step of the tiny UNet as in `base`: 48 pixels, halved twice by the VAE, are latents of 12.
STEP = """
import sys, time
from pathlib import Path
import torch
from sdaug.common.device import prepare_device, torch_stream
from sdaug.base.params import BaseParams
from sdaug.diffusion.denoising import denoising_loss
from sdaug.diffusion.latents import encode_prompts
from sdaug.diffusion.schedules import noise_schedule
from sdaug.base.tiny import build_tiny
from sdaug.common.sections import read_section

prepare_device()
params = read_section(Path("params.yaml"), "base", BaseParams)
pipeline = build_tiny(params, size_pixels=48)
schedule = noise_schedule(pipeline)
unet = pipeline.unet.train().to(memory_format=torch.channels_last)
(prompt,) = encode_prompts(pipeline, [params.caption])
latents = torch.randn(params.unet_batch_size, params.latent_channels, 12, 12)
prompts = prompt.expand(len(latents), -1, -1)
optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, fused=True)
stream = torch_stream(0)
seconds = []
begin = time.monotonic()
while time.monotonic() - begin < float(sys.argv[1]):
    now = time.monotonic()
    optimizer.zero_grad()
    denoising_loss(unet, schedule, latents, prompts, stream).mean().backward()
    optimizer.step()
    seconds.append(time.monotonic() - now)
print(sorted(seconds)[len(seconds) // 2])
"""


def measure(policy: str, *, num_processes: int, seconds: float) -> float:
    """The milliseconds per step, the median over processes that run at the same time."""
    # OpenMP reads its policy when it is loaded, so each measurement has new processes, and `default` inherits none.
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    if policy != "default":
        environment["OMP_WAIT_POLICY"] = policy
    command = [sys.executable, "-c", STEP, str(seconds)]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(num_processes)
    ]
    return 1000 * statistics.median(float(process.communicate()[0]) for process in running)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds per measurement")
    args = parser.parse_args()
    # The steps read params.yaml from the working directory.
    os.chdir(Path(__file__).parents[1])

    # Measure in turns.
    found: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for num_processes in (1, 2):
            for policy in POLICIES:
                name = f"{policy}_{num_processes}"
                found.setdefault(name, []).append(measure(policy, num_processes=num_processes, seconds=args.seconds))
                print(f"{policy:8} {num_processes} at once: {found[name][-1]:6.0f} ms per step", flush=True)
    # Report; the last character of a name is the number of processes.
    medians = {name: statistics.median(values) for name, values in found.items()}
    ratios = {f"{name}_ratio": value / medians[f"default_{name[-1]}"] for name, value in medians.items()}
    print(json.dumps({key: round(value, 2) for key, value in (medians | ratios).items()}))


if __name__ == "__main__":
    main()
