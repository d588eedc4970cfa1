"""Does a model fit, with what context, and what would change it: arithmetic on values, no I/O.

A header becomes a ``ModelShape`` (``gguf_shape``, ``config_shape``), a host's memory a ``Machine`` (``memory``,
``cards``), and what is wanted ``OllamaSettings`` or ``VllmSettings``. ``verdict.estimate`` sets them against each
other; ``solve`` asks the other way round: the largest context, the levers, and settings adapted to the card.
``ledger`` keeps deployments on one GPU from promising the same memory twice. Beneath are the engines' own rules:
``llamacpp`` and ``ollama``, ``vllm`` and ``vllm_cache``.
"""
