"""One module per resource: short functions, no SQL."""
