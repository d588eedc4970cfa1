"""Each kind of thing that can exist on a host: how it is observed, compared, made and removed."""
