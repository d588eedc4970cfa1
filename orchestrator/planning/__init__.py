"""From wanted and observed to done: plan (pure), apply, manifest."""
