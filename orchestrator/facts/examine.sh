# What only `doctor` wants to know. Runs behind gather.sh, changes nothing either, and answers in the same form.
# deployctl sets $ports (numbers) and $sources (NAME URL, one a line) in front of both scripts.
say kernel "$(uname -r)"
say sudo_from "${SUDO_USER:-}"
[ -d /run/systemd/system ] && say systemd_version "$(systemctl --version 2>/dev/null | sed -n '1s/[^ ]* \([^ ]*\).*/\1/p')"
say ntp "$(limit 5 timedatectl show -p NTPSynchronized --value 2>/dev/null)"
say nofile_soft "$(ulimit -Sn 2>/dev/null)"; say nofile_hard "$(ulimit -Hn 2>/dev/null)"; say memlock "$(ulimit -l 2>/dev/null)"
say overcommit "$(cat /proc/sys/vm/overcommit_memory 2>/dev/null)"; say max_map_count "$(cat /proc/sys/vm/max_map_count 2>/dev/null)"
# The proxies that programs of this login use, without passwords.
for v in http_proxy https_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY; do
  eval "p=\${$v:-}"; [ -z "$p" ] || say proxy "$v=$(printf '%s' "$p" | sed 's,//[^/@]*@,//***@,' | tr '\t\n' '  ')"
done
# NVIDIA cards on the bus, with or without a driver: vendor 10de, class 03 (display).
cards=0; for d in /sys/bus/pci/devices/*; do
  read -r vendor 2>/dev/null < "$d/vendor" && [ "$vendor" = 0x10de ] && read -r class 2>/dev/null < "$d/class" || continue
  case $class in 0x03*) cards=$((cards + 1));; esac
done; say nvidia_cards $cards
[ -e /proc/driver/nvidia/version ] && say nvidia_module yes
[ -d /sys/module/nouveau ] && say nouveau yes
{ for f in nvidia-container-runtime-hook nvidia-container-toolkit; do command -v "$f" >/dev/null 2>&1 && { say toolkit_hook "$f"; break; }; done
v=$(limit 5 nvidia-ctk --version 2>/dev/null | sed -n '1s/.* \([0-9][^ ]*\)$/\1/p'); [ -z "$v" ] || say toolkit "$v"
for f in /etc/cdi/*.yaml /etc/cdi/*.json /var/run/cdi/*.yaml /var/run/cdi/*.json; do
  [ -f "$f" ] && grep -q 'nvidia\.com/gpu' "$f" && say cdi "$f"; done
for f in /dev/char/*; do case $(readlink "$f" 2>/dev/null) in *nvidia*) say device_links yes; break;; esac; done; } &
[ -z "${DOCKER_HOST:-}" ] || say docker_host "$(printf '%s' "$DOCKER_HOST" | sed 's,//[^/@]*@,//***@,' | tr '\t\n' '  ')"
# The nearest directory that there is of each place that will be written to, its bytes, and whether this login may write.
place() { p=$2; while [ ! -d "$p" ] && [ "$p" != / ]; do p=$(dirname "$p"); done
  w=no; [ -w "$p" ] && w=yes
  say disk "$1	$(limit 10 df -Pk "$p" 2>/dev/null | awk 'NR == 2 { print $4 "\t" $2 }')	$w	$p"; }
if [ "$s" = /var/lib/deployctl ]; then place models "$s"; place engines /opt/deployctl
else case "${XDG_DATA_HOME:-}" in /*) d=$XDG_DATA_HOME;; *) d=${HOME:-/nonexistent}/.local/share;; esac; place data "$d/deployctl"; fi
{ r=$(limit 20 docker info --format '{{.CgroupDriver}} {{.CgroupVersion}} {{.DockerRootDir}}' 2>/dev/null) && [ -n "$r" ] && {
  set -- $r; say cgroup_driver "$1"; say cgroup_version "$2"; shift 2; [ -d "$*" ] && place images "$*"; }; } &
# Who listens on the ports that are wanted, where it may be known.
for p in $ports; do ss -Hltnp "sport = :$p" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\2 \1/p' | head -n 1 |
  while read -r pid name; do say port_of "$p	$pid	$name"; done; done
ask() { a=$(printf 'url = "%s"\n' "$2" | curl -q --config - --head --silent --show-error --output /dev/null --max-time 10 \
    --proto '=http,https' --write-out '\n%{http_code}' 2>&1); e=$?
  say source "$1	$e	$(printf '%s' "$a" | tail -n 1)	$(printf '%s' "$a" | sed -n 's/^curl: ([0-9]*) //p' | head -n 1 | tr '\t' ' ')"; }
command -v curl >/dev/null 2>&1 && printf '%s' "$sources" | { while read -r name url; do ask "$name" "$url" & done; wait; } &
wait
say clock "$(date +%s)"
say examined yes
