# Observes a host and changes nothing. Each line of the answer is KEY<TAB>VALUE; manifests are base64.
# deployctl sets $tools, $scope (auto, system, user) and $smi_wanted (yes, no) in front of this script.
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
say() { printf '%s\t%s\n' "$1" "$2"; }
say uid "$(id -u)"; say user "$(id -un)"; say group "$(id -gn)"; say gid "$(id -g)"; say home "${HOME:-}"; say arch "$(uname -m)"
for v in XDG_STATE_HOME XDG_CONFIG_HOME XDG_DATA_HOME; do eval "say $v \"\${$v:-}\""; done
# os-release is read, not run: nothing of it may act here.
release() { sed -n "s/^$1=//p" /etc/os-release 2>/dev/null | head -n 1 | tr -d "\"'" | tr '\t' ' '; }
os=$(release PRETTY_NAME); say os "${os:-$(release ID)}"
say cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)"
say mem_total "$(awk '/^MemTotal:/{print $2}' /proc/meminfo)"
say mem_available "$(awk '/^MemAvailable:/{print $2}' /proc/meminfo)"
say hostname "$( (uname -n) 2>/dev/null)"
# The address that the host itself uses towards others; without a route, one that is not a bridge of containers.
say address "$({ ip -o route get 1.1.1.1 | sed -n 's/.* src \([^ ]*\).*/\1/p'
  ip -o -4 addr show scope global | awk '$2 !~ /^(docker|br-|veth|virbr|cni)/ { sub(/\/.*/, "", $4); print $4 }'
  hostname -I | tr ' ' '\n'; } 2>/dev/null | sed -n 1p)"
[ -d /run/systemd/system ] && say systemd yes
# Where the loader's cache cannot be read (other C libraries, NixOS), nothing is said to be missing.
ldconfig -p 2>/dev/null | awk '{ lines++ } $1 == "libnuma.so.1" { found = 1 } END { exit !(lines > 1 && !found) }' && say lacks libnuma.so.1
for t in $tools; do command -v "$t" >/dev/null 2>&1 && say tool "$t"; done
# What is slow goes on beside the rest (nvidia-smi takes a second where the driver is not kept loaded); these lines are
# short enough to come whole. `wait` is before the manifests, which are not.
limit() { if command -v timeout >/dev/null 2>&1; then timeout -s KILL "$@"; else shift; "$@"; fi; }
{ if command -v docker >/dev/null 2>&1; then
  if d=$(limit 20 docker version --format '{{.Server.Version}}' 2>&1); then say docker "$d"
  else e=$?; d=$(printf '%s' "$d" | tail -n 1); [ $e != 137 ] || d='docker does not answer'; say docker_problem "$d"; fi
else say docker_problem 'docker is not installed'; fi; } &
# A driver that hangs makes nvidia-smi unkillable. So the limit is on a shell around it, which can be killed, and
# nvidia-smi holds nothing of ours open, only pipes of that shell. The tags are those that facts/smi.py reads.
smi='q=$({ nvidia-smi --query-gpu=uuid,compute_cap --format=csv,noheader 2>/dev/null | sed "s/^/able /"; } &
  x=$(nvidia-smi -q -x 2>&1); e=$?; wait; printf "%s\n" "$x"; exit $e) || {
  printf "gpu_problem\t%.300s\n" "$(printf "%s\n" "$q" | sed "/^able /d" | tr "\t\n" "  ")"; exit 0; }
case $q in *"<mig_device>"*) q="$q
$(nvidia-smi -L 2>/dev/null | sed "s/^/listed /")";; esac
tags="gpu|mig_device|fb_memory_usage|process_info|driver_version|cuda_version|product_name|uuid|total|used|free"
tags="$tags|current_mig|current_ecc|index|pid|process_name|used_memory"
printf "%s\n" "$q" | awk "/^(able|listed) / { sub(/ /, \"\t\"); print \"gpu_\" \$0 }
  /^[ \t]*<\/?($tags)[ >]/ { print \"gpu\t\" \$0 }" | while IFS= read -r l; do printf "%s\n" "$l"; done'
{ if [ "$smi_wanted" = yes ] && command -v nvidia-smi >/dev/null 2>&1; then
  limit 15 sh -c "$smi" </dev/null 2>/dev/null || say gpu_problem 'nvidia-smi does not answer within 15 s'
fi; } 2>/dev/null &
{ for p in python3.13 python3.12 python3.11 python3.10 python3; do
  f=$(command -v "$p" 2>/dev/null) || continue
  say python "$f $("$f" -IS -c 'import sys; from importlib.util import find_spec
print(*sys.version_info[:2], "yes" if find_spec("venv") and find_spec("ensurepip") else "no")' 2>/dev/null)"
done; } &
for a in ollama vllm video render; do getent passwd "$a" >/dev/null 2>&1 && say account "$a"; getent group "$a" >/dev/null 2>&1 && say account "group:$a"; done
getent passwd 2000 >/dev/null 2>&1 && say account uid:2000  # the number of the engine's user in vLLM's image
for d in /dev/nvidia*; do [ -c "$d" ] && say gpu_group "$(stat -c %g "$d" 2>/dev/null)"; done
(ss -Hltn 2>/dev/null | awk '{print $4}' || true) | while IFS= read -r l; do say listen "$l"; done
command -v ss >/dev/null 2>&1 || awk '$4=="0A"{print $2}' /proc/net/tcp /proc/net/tcp6 2>/dev/null | while IFS= read -r l; do say listenhex "$l"; done
for b in /usr/local/bin/ollama /usr/bin/ollama; do [ -x "$b" ] && { say ollama_bin "$b"; break; }; done
for u in /etc/systemd/system/ollama.service /usr/lib/systemd/system/ollama.service /lib/systemd/system/ollama.service; do
  [ -f "$u" ] || continue
  o=$(sed -n 's/^User=//p' "$u" | tail -n 1); say ollama_unit "$u"; say ollama_user "$o"
  say ollama_home "$(getent passwd "${o:-root}" | cut -d : -f 6)"
  if command -v systemctl >/dev/null 2>&1; then
    say ollama_active "$(systemctl is-active ollama.service 2>/dev/null)"; say ollama_enabled "$(systemctl is-enabled ollama.service 2>/dev/null)"
    say ollama_models "$(systemctl show -p Environment --value ollama.service 2>/dev/null | tr ' ' '\n' | sed -n 's/^OLLAMA_MODELS=//p' | tail -n 1)"
  fi; break
done
if [ "$scope" = system ] || { [ "$scope" = auto ] && [ "$(id -u)" = 0 ]; }; then s=/var/lib/deployctl
else case "${XDG_STATE_HOME:-}" in /*) s=$XDG_STATE_HOME/deployctl;; *) s=${HOME:-/nonexistent}/.local/state/deployctl;; esac; fi
wait
for m in "$s"/deployments/*/manifest.json; do [ -f "$m" ] && say manifest "$(base64 < "$m" | tr -d '\n')"; done
say end yes
