"""deployctl: from a bare Linux machine to a healthy, OpenAI-compatible LLM endpoint.

The rooms, and which way imports go, are described in docs/architecture.md.
"""

__version__ = "0.1.0"
