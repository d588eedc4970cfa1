#!/bin/sh
docker run --detach \
  --name=deployctl-vllm \
  --restart=unless-stopped \
  --stop-timeout=30 \
  --gpus=all \
  --shm-size=1073741824 \
  --log-driver=local \
  --user=2000:0 \
  --pids-limit=16384 \
  --read-only=true \
  --cap-drop=ALL \
  --security-opt=no-new-privileges \
  --tmpfs=/tmp:exec,nosuid,nodev,mode=1777,size=2g \
  --env=USER=vllm \
  --env=LOGNAME=vllm \
  --env=TORCHINDUCTOR_CACHE_DIR=/cache/torchinductor \
  --env=HOME=/cache \
  --env=XDG_CACHE_HOME=/cache \
  --env=XDG_CONFIG_HOME=/cache \
  --env=VLLM_CACHE_ROOT=/cache/vllm \
  --env=TRITON_CACHE_DIR=/cache/triton \
  --env=HF_HOME=/cache/huggingface \
  --env=HF_HUB_OFFLINE=1 \
  --env=VLLM_NO_USAGE_STATS=1 \
  '--env=VLLM_HOSTILE=a b '"'"'c'"'"' "d" %h $HOME \ {{ x }} #' \
  --label=deployctl.deployment=vllm \
  --mount=type=bind,source=/var/lib/deployctl/models/local/3399d6edd3e7,target=/model,readonly \
  --mount=type=bind,source=/etc/deployctl/vllm/generation,target=/config/generation,readonly \
  --mount=type=bind,source=/var/lib/deployctl/models/local/dab76a6f69f6-base,target=/base,readonly \
  --mount=type=bind,source=/var/lib/deployctl/vllm,target=/cache \
  --publish=127.0.0.1:15000:8000 \
  vllm/vllm-openai:v0.23.0 \
  '/model/tiny $HOME '"'"'x'"'"' "y" %h -q.gguf' \
  --tokenizer \
  /base \
  --hf-config-path \
  /base \
  --served-model-name \
  'it'"'"'s $HOME `id` "q" %h {{ x }} ünï' \
  --host \
  0.0.0.0 \
  --port \
  8000 \
  --max-model-len \
  auto \
  --max-num-seqs \
  256 \
  --max-num-batched-tokens \
  8192 \
  --gpu-memory-utilization \
  0.94 \
  --generation-config \
  /config/generation
