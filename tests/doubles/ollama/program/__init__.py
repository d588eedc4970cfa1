"""The program inside the double's ``bin/ollama``; Python's standard library only."""
