# Let the gateway that runs take in its files. $caddy, $caddyfile and $socket say which; one that does not run reads
# them when it starts.
reload_gateway() {
  [ -S "$socket" ] && [ -x "$caddy" ] || return 0
  HOME=/nonexistent "$caddy" reload --config "$caddyfile" --adapter caddyfile --address "unix/$socket" 2> "$1" && return 0
  grep -q 'connection refused' "$1" && return 0 # a socket that a killed gateway has left
  return 1
}
# The reasons in what Caddy says, which are lines of JSON.
told() { sed -n '/"level":"error"/!d; s/.*"msg":"\(.*\)"}$/\1/; s/\\"/"/g; p' "$1" | tail -n 3 >&2; }
