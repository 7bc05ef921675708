import subprocess
import sys

import pytest

START = """
import sys
from sdaug.device import prepare_device
prepare_device()
import timm, torch
model = timm.create_model("resnet18", num_classes=2)
optimizer = torch.optim.Adam(model.parameters(), fused=True)
model(torch.zeros(2, 3, 32, 32)).sum().backward()
optimizer.step()
loaded = lambda: "torch._dynamo.symbolic_convert" in sys.modules
assert not loaded(), "the compiler was loaded"
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", START + code], capture_output=True, text=True, check=False)


def test_a_classifier_trains_without_the_compiler() -> None:
    result = run("")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "code",
    [
        "assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item() == 2",
        "from diffusers import StableDiffusionPipeline",
        "import torch._dynamo.utils; torch._dynamo.utils.counters",
        "import torch._dynamo.variables as v; assert v.__spec__.loader.path.endswith('__init__.py')",
        "torch._dynamo.reset()",
    ],
)
def test_whoever_asks_for_the_compiler_gets_it(code: str) -> None:
    result = run(f"{code}\nassert loaded(), 'no compiler'")
    assert result.returncode == 0, result.stderr
