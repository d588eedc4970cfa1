"""Load against endpoints, what it shows, and where two engines differ."""
