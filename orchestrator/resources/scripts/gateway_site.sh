# Put the site in $new (a file beside its place) at $path, and let the gateway take it in. What it refuses is undone.
set -e
exec 9< "$(dirname "$path")"; flock 9 # two deployments may change their sites at once
said=$(mktemp); old=
trap 'rm -f -- "$said" "$new" ${old:+"$old"}' EXIT
if [ -f "$path" ]; then old=$path.old; cp -p -- "$path" "$old"; fi
mv -fT -- "$new" "$path"
if ! reload_gateway "$said"; then
  told "$said"
  if [ -n "$old" ]; then mv -fT -- "$old" "$path"; old=; else rm -f -- "$path"; fi
  exit 1
fi
