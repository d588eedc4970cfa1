# Ask at the gateway ($url, to be found at $connect) as clients do, with the first usable key of $keys, and at every
# address of this host that is not loopback, on all $ports, without a key and with a $wrong one. Prints
#   with_key STATUS   without_key STATUS   with_wrong_key STATUS   leak ADDRESS:PORT none|wrong STATUS
ask() { # HEADER URL [OPTION…]: the status. The header comes through a pipe, so that no key is in an argument.
  header=$1 target=$2; shift 2
  printf '%s\n' "$header" |
    curl -q -K - --silent --insecure --globoff --noproxy '*' --max-time 10 -o /dev/null -w '%{http_code}' "$@" "$target"
}
bearer() { [ -z "$1" ] || printf 'header = "Authorization: Bearer %s"' "$1"; }

if [ -n "$url" ]; then
  key=$(awk -v now="$(date +%s)" '
    $4 == "user" && $5 > now {sub(/.*\+/, "", $2); sub(/\$"$/, "", $2); print $2; exit}' "$keys" 2>/dev/null)
  if [ -n "$key" ]; then
    n=0
    while s=$(ask "$(bearer "$key")" "$url" --connect-to "$connect"); [ $n -lt "$tries" ]; do
      case $s in 000 | 502 | 503) ;; *) break ;; esac # a gateway or an engine that has just started
      n=$((n + 1)); sleep 0.25
    done
    echo "with_key $s"
  fi
  echo "without_key $(ask '' "$url" --connect-to "$connect")"
  echo "with_wrong_key $(ask "$(bearer "$wrong")" "$url" --connect-to "$connect")"
fi

# Every way from outside, in one request after the other of one curl.
ways() {
  { hostname -I 2>/dev/null || ip -o addr show scope global | awk '{sub("/.*", "", $4); print $4}'; } |
    tr ' ' '\n' | sort -u | while read -r address; do
    case $address in '' | 127.* | ::1 | fe80:*) continue ;; *:*) address="[$address]" ;; esac
    for port in $ports; do for scheme in http https; do for path in $paths; do
      printf 'url = "%s://%s:%s%s"\noutput = "/dev/null"\n' "$scheme" "$address" "$port" "$path"
    done; done; done
  done
}
try() { # NAME HEADER
  { printf '%s\n' "$2"; ways; } |
    curl -q -K - --silent --insecure --globoff --noproxy '*' --connect-timeout 2 --max-time 5 \
      -w '%{http_code} %{url_effective}\n' |
    awk -v name="$1" '/^2/ {split($2, part, "/"); print "leak", part[3], name, $1}' | sort -u
}
try none ''
try wrong "$(bearer "$wrong")"
exit 0
