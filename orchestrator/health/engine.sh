# Ask the engine at $base how it does, and changes nothing. Prints
#   health STATUS
#   ps JSON                       Ollama's loaded models, on one line
#   busy JSON                     the engines behind the gateway at the socket $control, with their requests under way;
#                                 twice, a quarter of a second apart, while there are any: status itself asks there too
#   metric SECONDS LINE           vLLM's figures; twice, a quarter of a second apart, while it has requests
#   log, and then what the log tells, to the end: where it does not serve, or (`meant` is yes) not from the GPU
# The script that calls this defines said_of_it, which prints the log.
ask() { curl -q --silent --globoff --noproxy '*' --max-time 5 "$@"; }
sample() {
  at=$(cut -d ' ' -f 1 /proc/uptime)
  ask "$base/metrics" |
    grep -E '^vllm:(num_requests_(running|waiting)|kv_cache_usage_perc|generation_tokens_total|cache_config_info)[{ ]' |
    sed "s/^/metric $at /"
}
busy() { printf 'busy %s\n' "$(ask --unix-socket "$control" http://localhost/reverse_proxy/upstreams | tr -d '\n')"; }
if [ "$runtime" = ollama ]; then path=/api/version; else path=/health; fi
status=$(ask -o /dev/null -w '%{http_code}' "$base$path")
echo "health $status"
if [ "$status" != 200 ]; then echo log; said_of_it
elif [ "$runtime" = ollama ]; then
  models=$(ask "$base/api/ps" | tr -d '\n')
  printf 'ps %s\n' "$models"
  if [ -S "$control" ]; then
    seen=$(busy)
    printf '%s\n' "$seen"
    case $seen in *'"num_requests":'[1-9]*) sleep 0.25; busy ;; esac
  fi
  case $meant$models in yes*'"size_vram":0'[,}]*) echo log; said_of_it ;; esac
else
  figures=$(sample)
  printf '%s\n' "$figures"
  case $(printf '%s\n' "$figures" | awk '$3 ~ /^vllm:num_requests_running/ {n += $NF} END {print n + 0}') in
    0) ;; *) sleep 0.25; sample ;;
  esac
fi
exit 0
