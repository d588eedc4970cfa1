"""A stand-in for the official Ollama archive: same files, same HTTP, same exit codes, no model behind it."""
