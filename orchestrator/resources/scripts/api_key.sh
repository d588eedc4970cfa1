# Make a key of 256 random bits in $key, unless there is one, and say it again in vLLM's form in $config.
set -e; umask 077
if [ ! -s "$key" ]; then
  { printf 'sk-deployctl-'; head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; } > "$key.part"
  mv -fT "$key.part" "$key"
fi
printf 'api-key: ["%s"]\n' "$(cat "$key")" > "$config.part"; mv -fT "$config.part" "$config"
chown "$owner" "$key" "$config"; chmod "$mode" "$key" "$config"
