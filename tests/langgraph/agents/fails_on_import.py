"""A module with an error."""

raise RuntimeError("the configuration is missing")
