# Hold the lock of $name until standard input ends or falls silent for $patience seconds; wait up to $wait seconds for it.
# A `q` says that the run has ended by itself: without one, its owner stays written there, and the next run tells.
# $look runs as soon as it is held: what the run must know of the host comes with the lock, in one round trip.
# The kernel holds it by an open file, so that it ends with this process: a killed run leaves no lock behind.
if [ "$(id -u)" = 0 ]; then folder=/run/deployctl; else folder=${XDG_RUNTIME_DIR:-/tmp}/deployctl-$(id -u); fi
command -v flock >/dev/null 2>&1 || { printf 'error\tflock is not installed\n'; exit 1; }
umask 077; mkdir -p "$folder" 2>/dev/null; [ -O "$folder" ] || { printf 'error\t%s is not mine\n' "$folder"; exit 1; }
exec 9>>"$folder/$name.lock" || exit 1
if ! flock -w "$wait" 9; then
  age=$(( $(date +%s) - $(stat -c %Y "$folder/$name.owner" 2>/dev/null || date +%s) ))
  printf 'held\t%s\t%s\n' "$age" "$(cat "$folder/$name.owner" 2>/dev/null)"; exit 75
fi
printf 'acquired\t%s\n' "$(cat "$folder/$name.owner" 2>/dev/null)" # an owner that is still written there did not finish
printf '%s' "$owner" > "$folder/$name.owner"
timeout "$patience" sh -c "$look" </dev/null 9>&-
printf 'looked\n'
while :; do
  case "$(timeout "$patience" dd bs=1 count=1 2>/dev/null 9>&-)" in
    .) touch "$folder/$name.owner" ;;
    q) rm -f "$folder/$name.owner"; break ;;
    *) break ;;
  esac
done
