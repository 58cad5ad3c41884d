"""Tools that agents call by name: the registry, and the tools that come with the platform."""
