"""Whether an endpoint really generates: the ladder, startup phases, and what a failure means (DESIGN 5.6)."""
