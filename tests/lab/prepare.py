"""`make lab`: build, before the tests, what they keep between runs, so that no test's time limit covers it."""

import sys
import time
from collections.abc import Callable

from tests.lab import images, lab, models


def main() -> None:
    """Build images, the engines' seed and models, saying what takes how long; nothing where there can be no lab."""
    if reason := lab.unavailable():
        sys.stderr.write(f"no lab on this machine: {reason}\n")
        return
    session = lab.Lab()
    try:
        _step("machine image", images.host_image)
        _step("vLLM image", images.vllm_image)
        _step("engine with the vLLM image", session.seed)
        _step("SmolLM2", lambda: models.fetch(models.SMOLLM2))
        _step("Gemma 3", lambda: models.fetch(models.GEMMA3))
    finally:
        session.close()


def _step(what: str, make: Callable[[], object]) -> None:
    sys.stderr.write(f"lab: {what} … ")
    sys.stderr.flush()
    start = time.monotonic()
    make()
    sys.stderr.write(f"{time.monotonic() - start:.1f} s\n")


if __name__ == "__main__":
    main()
