"""`make clean-lab`: remove what the lab keeps in the Docker Engine between runs, and what killed runs have left."""

from tests.lab.images import PREFIX
from tests.lab.lab import KEPT, remove_leftovers
from tests.lab.shell import docker


def main() -> None:
    """Remove leftovers, seed volumes and images of the lab; running sessions keep what they use."""
    remove_leftovers()
    for volume in docker("volume", "ls", "--quiet", "--filter", f"label={KEPT}").split():
        docker("volume", "rm", volume)
    images = docker("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={PREFIX}/*").split()
    if images:
        docker("rmi", *images)


if __name__ == "__main__":
    main()
