# Functions that every probe may use. deployctl puts them in front of a batch of probes.
# A probe prints NAME<TAB>VALUE lines; values of several lines are base64 (field64).
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
field() { printf '%s\t%s\n' "$1" "$2"; }
field64() { printf '%s\t' "$1"; base64 | tr -d '\n'; printf '\n'; }
digest() { sha256sum < "$1" 2>/dev/null | cut -d ' ' -f 1; }
describe() { # type, mode, owner and group (as names and as numbers) of a path, if it exists
  if [ -L "$1" ]; then field type link; return; fi
  if [ -d "$1" ]; then field type directory; elif [ -f "$1" ]; then field type file; elif [ -e "$1" ]; then field type other; else return; fi
  stat -c 'mode=%a;owner=%U;group=%G;uid=%u;gid=%g' "$1" 2>/dev/null | tr '=;' '\t\n'
}
