# Change the keys in $keys, a file that Caddy reads: one line for a key,
#   "~^(?i:bearer) +SECRET$" NAME ROLE EXPIRES # CREATED
# with times in seconds since 1970. $action: ensure (make the file with the key $name, unless there is one), create,
# rotate (a new secret; the old one ends at $until), revoke. What create and rotate make is printed, once.
set -e; umask 077
exec 9< "$(dirname "$keys")"; flock 9
said=$(mktemp); part=$(mktemp "$keys.XXXXXX")
trap 'rm -f -- "$said" "$part"' EXIT
now=$(date +%s)
has() { [ -f "$keys" ] && awk -v n="$1" '$3 == n {found = 1} END {exit !found}' "$keys"; }
make() { # NAME ROLE EXPIRES
  secret=sk-deployctl-$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n')
  printf '"~^(?i:bearer) +%s$" %s %s %s # %s\n' "$secret" "$1" "$2" "$3" "$now" >> "$part"
}
if [ -f "$keys" ]; then cat -- "$keys" > "$part"; fi
case $action in
  ensure)
    if [ ! -f "$keys" ]; then make "$name" user "$expires"; fi ;;
  create)
    if has "$name"; then echo "there is a key named $name" >&2; exit 3; fi
    make "$name" "$role" "$expires" ;;
  rotate)
    if ! has "$name"; then echo "there is no key named $name" >&2; exit 3; fi
    # The newest of that name is the one in use; those before it end as they were told to.
    role=$(awk -v n="$name" '$3 == n {r = $4} END {print r}' "$keys")
    awk -v n="$name" -v u="$until" -v now="$now" '
      $3 == n { if (u <= now) next; if ($5 > u) $5 = u } {print}' "$keys" > "$part"
    make "$name" "$role" "$expires" ;;
  revoke)
    if ! has "$name"; then echo "there is no key named $name" >&2; exit 3; fi
    awk -v n="$name" '$3 != n' "$keys" > "$part" ;;
esac
chown "$owner" "$part"; chmod "$mode" "$part"
sync "$part" 2>/dev/null || true
old=
if [ -f "$keys" ]; then old=$(mktemp "$keys.XXXXXX"); cp -p -- "$keys" "$old"; fi
mv -fT -- "$part" "$keys"
if ! reload_gateway "$said"; then
  told "$said"
  if [ -n "$old" ]; then mv -fT -- "$old" "$keys"; else rm -f -- "$keys"; fi
  exit 1
fi
if [ -n "$old" ]; then rm -f -- "$old"; fi
case $action in create | rotate) printf '%s\n' "$secret" ;; esac
