"""Templates, and the quoting that keeps every value in its place in every format."""
