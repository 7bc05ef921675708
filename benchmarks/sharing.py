"""Benchmark of sharing: what is left of the speed of a training step, beside processes that keep the cores busy.

For each kind of work and each policy of OpenMP threads that wait, prints the steps per second alone, the ratio to the
first policy alone, and the part of a fair share that is kept beside one and two busy processes. A fair share is the
number of cores over the number of threads that want one. The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from results import add_write_option, write_results

# What libgomp reads when it is loaded: its threads spin for about so many rounds before they sleep.
POLICIES: Mapping[str, Mapping[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
}
WORKS = ("train", "draw", "vae")
BUSY = "while True: pass"
WORK = """
import sys, time
from pathlib import Path
import torch
from sdaug.common.device import prepare_device, torch_stream
from sdaug.diffusion.conditioning import Conditioning, encode_prompts
from sdaug.diffusion.denoising import denoising_loss
from sdaug.diffusion.pipelines import load_pipeline
from sdaug.diffusion.schedules import noise_schedule

work, seconds = sys.argv[1], float(sys.argv[2])
prepare_device()
pipeline = load_pipeline(Path("pretrained/small"), torch.device("cpu"))
schedule, unet, vae = noise_schedule(pipeline), pipeline.unet, pipeline.vae
(prompt,) = encode_prompts(pipeline, ["a photo of a teat end"], height=64, width=64)
prompts = Conditioning(tokens=prompt.tokens.expand(16, -1, -1))
latents = torch.randn(16, unet.config.in_channels, 16, 16)
pixels = torch.randn(16, 3, 64, 64)
stream = torch_stream(0)
unet.train().requires_grad_(work == "train")
optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-5, fused=True)

def step():
    if work == "train":
        optimizer.zero_grad()
        denoising_loss(unet, schedule, latents, prompts, stream).mean().backward()
        optimizer.step()
    elif work == "draw":
        with torch.no_grad():
            unet(latents, torch.full((16,), 500), prompts.tokens)
    else:
        with torch.no_grad():
            vae.encode(pixels)

for _ in range(2):
    step()
begin, done = time.monotonic(), 0
while time.monotonic() - begin < seconds:
    step()
    done += 1
print(done / (time.monotonic() - begin))
"""


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that each keep one core busy while the block runs."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measure(work: str, policy: str, *, num_busy: int, seconds: float) -> float:
    """Steps per second of one kind of work beside busy processes."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    with busy(num_busy):
        words = [sys.executable, "-c", WORK, work, str(seconds)]
        done = subprocess.run(words, env=environment | POLICIES[policy], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds per measurement")
    parser.add_argument("--work", nargs="+", choices=WORKS, default=[*WORKS])
    parser.add_argument("--policy", nargs="+", choices=[*POLICIES], default=[*POLICIES])
    parser.add_argument("--busy", type=int, nargs="*", default=[1, 2], help="numbers of busy processes")
    add_write_option(parser)
    args = parser.parse_args()
    os.chdir(Path(__file__).parents[1])
    found: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(args.rounds):
        for work in args.work:
            for num_busy in (0, *args.busy):
                for policy in args.policy:
                    rate = measure(work, policy, num_busy=num_busy, seconds=args.seconds)
                    found.setdefault((work, policy, num_busy), []).append(rate)
    cores = len(os.sched_getaffinity(0))
    results = {}
    for work in args.work:
        best = statistics.median(found[work, args.policy[0], 0])
        for policy in args.policy:
            rates = {n: statistics.median(found[work, policy, n]) for n in (0, *args.busy)}
            kept = {n: rates[n] / rates[0] * (cores + n) / cores for n in args.busy}
            shares = "".join(f"; {share:.2f} of a fair share beside {n} busy" for n, share in kept.items())
            print(f"{work:6} {policy:10} {rates[0]:6.2f} steps/s alone, {rates[0] / best:.2f} of the first{shares}")
            measures = {"alone_per_s": rates[0], "alone_ratio": rates[0] / best}
            results[f"{work}, {policy}"] = measures | {f"share_{n}": share for n, share in kept.items()}
    if args.write:
        write_results("sharing", results)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
