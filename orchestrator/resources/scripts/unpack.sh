# Unpack $archive into $dest, whose program is $binary; the archive's sha256 was checked before. All that is in it may
# have $most bytes.
set -e
exec 9< "$(dirname "$dest")"; flock 9 # what a run that was cut has begun here may still go on
if [ "$(cat "$dest/.deployctl-sha256" 2>/dev/null)" = "$sha256" ] && [ -x "$dest/$binary" ]; then
  rm -f -- "$archive"; exit 0
fi
rm -rf -- "$dest.part"; umask 022; mkdir -p -- "$dest.part"
case "$archive" in *.zst) unpack='zstd -dc';; *) unpack='gzip -dc';; esac
# Nothing may land outside: no absolute or upward names, no links that leave, no device nodes or pipes (-P: as they are).
# Owners as numbers, because a name with spaces would pass for the columns after it.
$unpack < "$archive" | tar -Ptvf - --numeric-owner | awk -v most="$most" '
  { kind = substr($1, 1, 1); name = $0; sub(/^[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ +/, "", name) }
  kind !~ /[-dlh]/ { print "a special file: " name; exit 1 }
  (bytes += $3) > most { print "more than " most " bytes in an archive of this size"; exit 1 }
  NR > 200000 { print "more than 200000 files"; exit 1 }
  { target = "" }
  match(name, / (->|link to) /) { target = substr(name, RSTART + RLENGTH); name = substr(name, 1, RSTART - 1) }
  target ~ / (->|link to) / { print "a name that passes for a link: " name; exit 1 }
  name ~ /^\// || name ~ /(^|\/)\.\.(\/|$)/ { print "a name that leads outside: " name; exit 1 }
  target ~ /^\// || target ~ /(^|\/)\.\.(\/|$)/ { print "a link that leads outside: " name; exit 1 }
' >&2
$unpack < "$archive" | tar -C "$dest.part" --no-same-owner --no-same-permissions -xf -
chmod -R u+rwX,go+rX,go-w "$dest.part"
[ -x "$dest.part/$binary" ] || { echo "the archive holds no $binary" >&2; exit 1; }
printf '%s' "$sha256" > "$dest.part/.deployctl-sha256"
rm -rf -- "$dest"; mv -T -- "$dest.part" "$dest"; rm -f -- "$archive"
