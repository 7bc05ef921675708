#!/usr/bin/env bash
# Version:  dvc 3.67.1, tried 2026-11-29 on Linux, Python 3.11
# Source:   https://dvc.org/doc/command-reference/repro; dvc/rwlock.py (_edit_rwlock), dvc/utils/serialize/_common.py
#           (_dump_data), of the package dvc 3.67.1
# Guess:    DVC puts files into its cache by a rename, and tells of processes that were killed ("Auto removed it from the
#           lock file"). So if `dvc repro` is killed, dvc.lock is the old or the new one, and the next command goes on.
# Seen:     dvc.lock and .dvc/tmp/rwlock are opened for writing in place. Killed in that moment, `dvc repro` leaves a part
#           of dvc.lock or nothing, or an empty rwlock, and every later command ends with an error:
#             dvc.lock: 0 bytes left; dvc status: exit 1: './dvc.lock' validation failed.
#             .dvc/tmp/rwlock: 0 bytes left; dvc status: exit 1: ERROR: Unable to read RWLock-file '.dvc/tmp/rwlock'.
#               JSON structure is corrupted: Expecting value: line 1 column 1 (char 0)
#           It does not say that both may be deleted, and that results then come back from the cache.
# Why odd:  a file that exists so that killed processes do no harm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dvc==3.67.1
export PATH="$folder/venv/bin:$PATH" DVC_SITE_CACHE_DIR="$folder/site" DVC_NO_ANALYTICS=1
mkdir "$folder/study" && cd "$folder/study"
dvc init --quiet --no-scm
cat > run.py <<'PYTHON'
"""Stages whose repro is killed as soon as a file of DVC is shorter than it was."""
import os, subprocess, sys

stages, path, last = 40, sys.argv[1], sys.argv[2]
words = " ".join(["word"] * 500)
with open("dvc.yaml", "w") as graph:
    graph.write("stages:\n")
    for n in range(stages):
        text = last if n == stages - 1 else words
        graph.write(f"  stage{n}: {{cmd: 'echo {text} > out{n}', outs: [out{n}]}}\n")
process = subprocess.Popen(["dvc", "repro", "--quiet"])
longest = 0
while path and process.poll() is None:
    size = os.stat(path).st_size if os.path.exists(path) else 0
    if size < longest:
        process.kill()
        break
    longest = max(longest, size)
sys.exit(0 if process.wait() < 0 or not path else 3)  # 3: not caught
PYTHON
python3 run.py "" one
cp dvc.lock whole.lock
refused=0
for path in dvc.lock .dvc/tmp/rwlock; do
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    cp whole.lock dvc.lock; rm -f .dvc/tmp/rwlock
    python3 run.py "$path" "try$attempt" || continue
    if dvc status --quiet 2>/dev/null; then status=0; else status=$?; fi
    said=$(dvc status 2>&1 || true)
    if grep -qE "is invalid|validation failed|corrupted" <<<"$said"; then
      echo "$path: $(wc -c < "$path") bytes left; dvc status: exit $status: $(head -1 <<<"$said")"
      refused=$((refused + 1)); break
    fi
  done
done
rm -f .dvc/tmp/rwlock; cp whole.lock dvc.lock
dvc repro --quiet && echo "with both files mended it goes on"
[ "$refused" -eq 2 ] && echo "as found" || { echo "CHANGED ($refused of 2)"; exit 1; }
