"""Does a model fit, with what context, and what would change it: arithmetic on values, no I/O."""
