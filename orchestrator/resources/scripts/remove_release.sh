# Delete $path and what a failed run left beside it. Programs that still run from it are ended first: a server that was
# killed leaves its llama-server behind. A program is known by its file, or by its script where an interpreter runs it.
for p in /proc/[0-9]*; do
  exe=$(readlink "$p/exe"); script=$(tr '\0' '\n' < "$p/cmdline" | sed -n 2p)
  case "$exe" in
    "$path"/*) kill -9 "${p#/proc/}";;
    */python*) case "$script" in "$path"/*) kill -9 "${p#/proc/}";; esac;;
  esac
done 2>/dev/null
rm -rf -- "$path" "$path.part" "$path.tar.zst" "$path.tar.zst.part" "$path.tgz" "$path.tgz.part"
