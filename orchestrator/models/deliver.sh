# Delivers files to this host, each whole and verified or not at all. transfer.py sends this on standard input, behind it
# what to do, one line a file: `fetch`, `offer`, `receive` or `link`. It prints one event a line (see Events in transfer.py).
#
# A file grows as DESTINATION.part, which a later run goes on with; its lock is the part itself, so that the lock
# goes with the last process that writes and leaves nothing behind.
set -u
umask 022
LC_ALL=C
export LC_ALL
watcher=

# The controller, which downloads what it pushes, may be a Mac.
command -v sha256sum >/dev/null || sha256sum() { shasum -a 256; }
command -v sha1sum >/dev/null || sha1sum() { shasum -a 1; }

event() { printf '%s\n' "$*"; }

fail() { # REASON [DETAIL]
  unwatch
  [ -s "$part" ] || rm -f "$part"
  event fail "$index" "$@"
  exit 1
}

bytes_of() {
  [ -e "$1" ] || { echo 0 && return; }
  stat -Lc %s "$1" 2>/dev/null || stat -Lf %z "$1"
}

digest_of() {
  case $algorithm in
    sha256) sha256sum <"$1" ;;
    git-sha1) { printf 'blob %s\0' "$size" && cat "$1"; } | sha1sum ;;
  esac | cut -d ' ' -f 1
}

whole() { # FILE
  [ -f "$1" ] && [ "$(bytes_of "$1")" = "$size" ] || return 1
  event verify "$index"
  [ "$(digest_of "$1")" = "$digest" ]
}

lock() {
  [ ! -L "$part" ] || rm -f "$part"
  while :; do
    touch "$part" || fail unwritable
    exec 9>>"$part"
    command -v flock >/dev/null || return 0
    flock -n 9 || {
      event locked "$index"
      flock 9
    }
    # Its last holder may have published or dropped it while this run waited: then this is no longer the part.
    [ /proc/self/fd/9 -ef "$part" ] && return 0
  done
}

begin() { # INDEX DESTINATION SIZE ALGORITHM DIGEST; fails when the file is there already, whole
  index=$1 target=$2 size=$3 algorithm=$4 digest=$5 part=$2.part
  [ ! -d "$target" ] || fail directory
  if ! whole "$target"; then
    lock
    whole "$target" || return 0
    rm -f "$part"
  fi
  event done "$index"
  return 1
}

watch() { # tells how far the part is, each second, until unwatch or the end of this shell
  (
    trap '' PIPE
    while kill -0 $$ 2>/dev/null; do
      # nobody listens: that run was interrupted, or its line is lost; end this one too (it has a group of its own)
      event bytes "$index" "$(bytes_of "$part")" 2>/dev/null || kill 0
      sleep 1 >/dev/null 2>&1
    done
  ) 9>&- &
  watcher=$!
}

unwatch() {
  [ -n "$watcher" ] || return 0
  kill "$watcher" 2>/dev/null
  wait "$watcher" 2>/dev/null
  watcher=
}

flush() { sync "$1" 2>/dev/null || sync; }

publish() {
  { flush "$part" && mv -f "$part" "$target"; } || fail unwritable
  flush "$(dirname "$target")"
  event done "$index"
}

# The token goes to curl on its standard input: never in an argument, never on disk. curl itself drops the header when
# it is sent to another host. A file larger than promised is cut off by the limit (in blocks of 512 or 1024 bytes).
request() {
  answer=$(
    {
      printf 'url = "%s"\n' "$url"
      [ -z "$token" ] || printf 'header = "Authorization: Bearer %s"\n' "$token"
    } | (
      ulimit -c 0
      ulimit -f $((size / 512 + 2048))
      exec curl -q --config - --silent --show-error --no-buffer --fail --location --max-redirs 10 \
        --proto =http,https --proto-redir "$protocols" --header 'Accept-Encoding: identity' \
        --connect-timeout "$connect" --speed-limit "$slowest" --speed-time "$stall" --max-filesize "$size" \
        --continue-at "$have" --output "$part" --dump-header - --write-out '\n%{http_code}'
    )
  )
  status=$?
  code=$(printf '%s\n' "$answer" | tail -n 1)
  after=$(printf '%s\n' "$answer" | tr -d '\r' | sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]\{1,6\}\)$/\1/p' | tail -n 1)
}

# Sets the reason for trying again, or fails where that cannot help. curl gives 33 when a server does not answer a
# Range with a 206 that begins there, 63 and SIGXFSZ (153) for too much, 0 with too little when the server says so.
judge() {
  case $status:$code in
    22:401) fail unauthorized ;;
    22:403) fail forbidden ;;
    22:404 | 22:410) fail missing ;;
    22:416) : >"$part" && fail range ;;
    22:408 | 22:425 | 22:429 | 22:5??) reason="busy $code" ;;
    22:*) fail http "$code" ;;
    1:* | 47:*) fail redirect ;;
    63:* | 153:*) : >"$part" && fail larger ;;
    0:*) [ "$have" -lt "$size" ] && reason=cut || { : >"$part" && fail larger; } ;;
    33:*) : >"$part" && have=0 reason=range ;;
    23:*) fail unwritable ;;
    126:* | 127:*) fail unreachable curl ;;
    5:000 | 6:000 | 7:000 | 28:000 | 35:000 | 60:000 | 77:000) reason="${answered:-unreachable} $status" ;;
    *) reason="cut $status" ;;
  esac
}

download() {
  failures=0 wait=$pause answered=
  have=$(bytes_of "$part")
  farthest=$have
  while [ "$have" -lt "$size" ]; do
    watch
    request
    unwatch
    [ "$code" = 000 ] || answered=cut
    have=$(bytes_of "$part")
    [ "$have" -ne "$size" ] || break
    judge
    if [ "$have" -ge $((farthest + 1048576)) ]; then # it gets on: as often as it takes
      failures=0 wait=$pause farthest=$have
    fi
    failures=$((failures + 1))
    limit=$tries
    case $reason in unreachable*) [ "$tries" -le 2 ] || limit=2 ;; esac
    [ "$failures" -lt "$limit" ] || fail $reason
    rest
  done
}

rest() { # as long as the server asks, or twice as long each time, with a bound
  seconds=$wait
  if [ -n "$after" ] && [ "$after" -gt "$seconds" ]; then seconds=$after; fi
  [ "$seconds" -le "$longest" ] || seconds=$longest
  event again "$index" "$seconds" "$reason"
  [ "$seconds" -eq 0 ] || sleep "$seconds"
  wait=$((wait * 2))
}

fetch() { # INDEX DESTINATION SIZE ALGORITHM DIGEST URL
  begin "$@" || return 0
  url=$6
  case $url in https:*) protocols='=https' ;; *) protocols='=http,https' ;; esac
  download
  if ! whole "$part"; then # once more, from zero: a bad disk or proxy may have spoiled an earlier part
    : >"$part"
    event again "$index" 0 mismatch
    download
    whole "$part" || refuse
  fi
  publish
}

refuse() {
  : >"$part"
  fail mismatch
}

offer() { # INDEX DESTINATION SIZE ALGORITHM DIGEST; tells where a push goes on
  begin "$@" || return 0
  event bytes "$index" "$(bytes_of "$part")"
  [ -s "$part" ] || rm -f "$part"
}

receive() { # INDEX DESTINATION SIZE ALGORITHM DIGEST OFFSET <the file from OFFSET on
  begin "$@" || return 0
  [ "$(bytes_of "$part")" = "$6" ] || fail moved
  watch
  cat >>"$part" || fail unwritable
  unwatch
  [ "$(bytes_of "$part")" -ge "$size" ] || fail cut
  whole "$part" || refuse
  publish
}

link() { # INDEX DESTINATION SIZE ALGORITHM DIGEST SOURCE; a second name where that can be, else a copy
  begin "$@" || return 0
  case $(stat -Lc %A "$6") in
    -??????r*) ln -f "$6" "$part" 2>/dev/null || copy "$6" ;;
    *) copy "$6" ;; # a second name would have its mode, and the service's user could not read it
  esac
  whole "$part" || {
    rm -f "$part"
    fail mismatch
  }
  publish
}

copy() { # SOURCE
  watch
  cp --reflink=auto "$1" "$part" 2>/dev/null || cat "$1" >"$part" || fail unwritable
  unwatch
  chmod 0644 "$part"
}
