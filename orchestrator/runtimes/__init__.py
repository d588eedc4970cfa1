"""What each runtime wants on a host: (spec, facts) in, resources and an endpoint out. Pure."""
