#!/bin/sh
docker run --detach \
  --name=deployctl-vllm \
  --restart=unless-stopped \
  --stop-timeout=30 \
  --shm-size=1073741824 \
  --log-driver=local \
  --user=0:0 \
  --cap-drop=ALL \
  --security-opt=no-new-privileges \
  --env=HOME=/cache \
  --env=XDG_CACHE_HOME=/cache \
  --env=XDG_CONFIG_HOME=/cache \
  --env=VLLM_CACHE_ROOT=/cache/vllm \
  --env=TRITON_CACHE_DIR=/cache/triton \
  --env=HF_HOME=/cache/huggingface \
  --env=HF_HUB_OFFLINE=1 \
  --env=VLLM_NO_USAGE_STATS=1 \
  --env=VLLM_CPU_KVCACHE_SPACE=4 \
  --label=deployctl.deployment=vllm \
  --mount=type=bind,source=/var/lib/deployctl/models/Qwen/Qwen2.5-0.5B-Instruct-GGUF/4c9e84e63baa,target=/model,readonly \
  --mount=type=bind,source=/etc/deployctl/vllm/generation,target=/config/generation,readonly \
  --mount=type=bind,source=/var/lib/deployctl/vllm,target=/cache \
  --publish=127.0.0.1:5000:8000 \
  vllm/vllm-openai-cpu:v0.32.0 \
  /model/qwen2.5-0.5b-instruct-q8_0-bf16 \
  --served-model-name \
  Qwen2.5-0.5B-Instruct \
  --host \
  0.0.0.0 \
  --port \
  8000 \
  --max-model-len \
  2048 \
  --generation-config \
  /config/generation \
  --enforce-eager
