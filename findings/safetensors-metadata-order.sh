#!/usr/bin/env bash
# Version:  safetensors 0.8.0, tried 2026-11-28 on Linux, Python 3.11
# Source:   https://huggingface.co/docs/safetensors/api/torch#safetensors.torch.save_file
# Guess:    saving the same tensors with the same metadata gives the same bytes, as it does without metadata: the names
#           of tensors are sorted in the head of the file.
# Seen:     the entries of the metadata are written in an order that changes from call to call, so the bytes of the file
#           change, and with them any hash of it. One entry, such as the usual `format`, is always the same.
# Why odd:  a file format that is known for being plain and hashed everywhere gives ten hashes for one content.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PY'
import numpy as np
from safetensors.numpy import save

tensors = {name: np.zeros(4, np.float32) for name in "abcdefgh"}
kinds = {
    "no metadata": None,
    "one entry": {"format": "np"},
    "four entries": {"format": "np", "rank": "4", "alpha": "4", "model": "small"},
}
seen = {kind: len({save(tensors, metadata=metadata) for _ in range(50)}) for kind, metadata in kinds.items()}
for kind, count in seen.items():
    print(f"{kind}: {count} different files of 50")
assert seen["no metadata"] == seen["one entry"] == 1 and seen["four entries"] > 1, "CHANGED"
PY
echo "as found"
