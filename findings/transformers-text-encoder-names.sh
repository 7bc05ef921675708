#!/usr/bin/env bash
# Version:  transformers 5.23.0 and 4.57.3 with torch 2.13.0, tried 2026-11-28 on Linux, Python 3.11
# Source:   https://huggingface.co/docs/transformers/model_doc/clip#transformers.CLIPTextModel;
#           transformers/conversion_mapping.py (PrefixChange for CLIPTextModel)
# Guess:    a text encoder that is saved has the names of weights that its class always had (`text_model.encoder...`),
#           however it was made; or at least a version that does not know the names refuses the file.
# Seen:     transformers 5 writes `encoder...` for a model that was built, and `text_model.encoder...` for the same model
#           once it was loaded from a file with these names. transformers 4 loads the former with a warning: not one
#           weight of the file is used, and the model is random.
# Why odd:  the same weights are saved under two sets of names, and the file that is wrong for others loads.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 5.23.0 4.57.3; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "transformers==$version" torch==2.13.0 numpy==2.3.5
done
cat > "$folder/save.py" <<'PY'
import sys
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

config = CLIPTextConfig(hidden_size=8, intermediate_size=8, num_attention_heads=2, num_hidden_layers=1, vocab_size=9)
folder = sys.argv[1]
built = CLIPTextModel(config)
built.save_pretrained(f"{folder}/built")
weights = load_file(f"{folder}/built/model.safetensors")
built.save_pretrained(f"{folder}/named")
save_file({f"text_model.{name}": w for name, w in weights.items()}, f"{folder}/named/model.safetensors", {"format": "pt"})
CLIPTextModel.from_pretrained(f"{folder}/named").save_pretrained(f"{folder}/loaded")
has_prefix = {k: any(n.startswith("text_model.") for n in load_file(f"{folder}/{k}/model.safetensors")) for k in ("built", "loaded")}
print("transformers 5 writes the prefix:", has_prefix)
assert has_prefix == {"built": False, "loaded": True}, "CHANGED"
PY
cat > "$folder/load.py" <<'PY'
import sys
import torch
from safetensors.torch import load_file
from transformers import CLIPTextModel

folder, equal = sys.argv[1], {}
for kind in ("built", "loaded"):
    given = {n.removeprefix("text_model."): w for n, w in load_file(f"{folder}/{kind}/model.safetensors").items()}
    found = CLIPTextModel.from_pretrained(f"{folder}/{kind}").state_dict()
    equal[kind] = all(torch.equal(w, given[n.removeprefix("text_model.")]) for n, w in found.items())
print("transformers 4 has the weights of the file:", equal)
assert equal == {"built": False, "loaded": True}, "CHANGED"
PY
"$folder/5.23.0/bin/python" "$folder/save.py" "$folder"
"$folder/4.57.3/bin/python" "$folder/load.py" "$folder"
echo "as found"
