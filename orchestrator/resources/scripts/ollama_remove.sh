# Remove what is left of a model in $store once its server was asked to: the server may be down, or a vendor's that has
# gone back to a port of its own. Blobs that another model has too stay.
if [ -f "$manifest" ]; then
  digests=$(grep -oE 'sha256:[0-9a-f]{64}' "$manifest" | sort -u)
  rm -f -- "$manifest" && rmdir -- "$(dirname "$manifest")" 2>/dev/null
  for digest in $digests; do
    grep -rqsF "$digest" "$store/manifests" || rm -f -- "$store/blobs/sha256-${digest#sha256:}"
  done
fi
rm -f -- "$mark"
