import subprocess
import sys

import pytest

LOADED = """
loaded = lambda: "torch._dynamo.symbolic_convert" in sys.modules
assert not loaded(), "the compiler was loaded"
"""
CLASSIFIER = """
import sys
from sdaug.device import prepare_device
prepare_device()
import timm, torch
model = timm.create_model("resnet18", num_classes=2)
optimizer = torch.optim.Adam(model.parameters(), fused=True)
model(torch.zeros(2, 3, 32, 32)).sum().backward()
optimizer.step()
"""
GENERATOR = """
import sys
sys.path.insert(0, "tests")
from sdaug.diffusion.sampling import draw_previews
from sdaug.diffusion.tiny import build_tiny
from smallest import SMALLEST
import torch
from sdaug.device import prepare_device
prepare_device()
pipeline = build_tiny(SMALLEST, size_pixels=16)
draw_previews(pipeline, "a photo", 1, size_pixels=16)
"""


def run(code: str, start: str = CLASSIFIER) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", start + LOADED + code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("start", [CLASSIFIER, GENERATOR], ids=["a classifier learns", "a generator draws"])
def test_is_not_loaded_where(start: str) -> None:
    result = run("", start)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "code",
    [
        "assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item() == 2",
        "import torch._dynamo._trace_wrapped_higher_order_op as t; t.TransformGetItemToIndex()",
        "import torch._dynamo.utils; torch._dynamo.utils.counters",
        "import torch._dynamo.variables as v; assert v.__spec__.loader.path.endswith('__init__.py')",
        "torch._dynamo.reset()",
    ],
)
def test_whoever_asks_for_the_compiler_gets_it(code: str) -> None:
    result = run(f"{code}\nassert loaded(), 'no compiler'")
    assert result.returncode == 0, result.stderr
