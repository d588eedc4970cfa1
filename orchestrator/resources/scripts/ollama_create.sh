# Link the weights $gguf into Ollama's $store by content, and make the model $name from $modelfile.
set -e
# Wait for the server: a minute at most, and not for one that has died (its supervisor takes seconds to try again).
served() { case "$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ')" in *"${binary##*/} serve "*) ;; *) false;; esac; }
n=0; dead=0; until curl --noproxy '*' -fsS -m 5 -o /dev/null "$api/api/version" 2>/dev/null; do
  n=$((n+1)); if served; then dead=0; else dead=$((dead+1)); fi
  [ $n -lt 120 ] && [ $dead -lt 5 ] || { echo "Ollama does not answer at $api" >&2; exit 9; }
  sleep 0.5
done
blob="$store/blobs/sha256-$sha256"
# A damaged blob is never repaired by Ollama itself, which only looks at the name: replace it.
if [ ! -f "$blob" ] || [ "$(wc -c < "$blob")" != "$(wc -c < "$gguf")" ]; then
  mkdir -p "$store/blobs"; rm -f -- "$blob"
  ln "$gguf" "$blob" 2>/dev/null || { cp --reflink=auto "$gguf" "$blob.part"; mv -f "$blob.part" "$blob"; }
fi
if [ -n "$owner" ]; then chown "$owner" "$store" "$store/blobs"; fi
touch -c "$blob"
HOME="${HOME:-/}" OLLAMA_HOST="$api" "$binary" create "$name" -f "$modelfile" >&2
digest=$(sha256sum < "$manifest" | cut -d ' ' -f 1)
mkdir -p "$(dirname "$mark")"; printf '%s %s' "$modelfile_sha256" "$digest" > "$mark.part"; mv -f "$mark.part" "$mark"
