#!/usr/bin/env bash
# Version:  dvc 3.67.1, tried 2026-11-28 on Linux, Python 3.11
# Source:   https://dvc.org/doc/command-reference/repro; dvc/stage/__init__.py (Stage.run, Stage.reproduce)
# Guess:    a colleague pulls the results of a stage but has not the raw photos it was made from. `dvc repro` finds that
#           a dependency is missing, says so, and leaves the results as they are, since the stage cannot run.
# Seen:     `dvc repro` ends with an error that names the dependency, and the stage's output is gone from the workspace
#           (the cache still has it: `dvc checkout` brings it back; `dvc repro --allow-missing` runs nothing).
# Why odd:  what is deleted is the only thing that the failing command could not make again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dvc==3.67.1
export PATH="$folder/venv/bin:$PATH" DVC_SITE_CACHE_DIR="$folder/site" DVC_NO_ANALYTICS=1
mkdir "$folder/study" && cd "$folder/study"
git init --quiet && dvc init --quiet
mkdir raw && echo photo > raw/a
cat > dvc.yaml <<'YAML'
stages:
  prepare:
    cmd: cp -r raw prepared
    deps: [raw]
    outs: [prepared]
YAML
dvc repro --quiet
rm -r raw
status=0
dvc repro || status=$?
echo "exit status $status; the output is $([ -e prepared ] && echo there || echo gone)"
[ "$status" -ne 0 ] && [ ! -e prepared ] || { echo CHANGED; exit 1; }
dvc checkout --quiet prepare && [ -e prepared ]
dvc repro --allow-missing --quiet && [ -e prepared ]
echo "as found"
