"""API keys: made once, shown once, narrowed, rotated, revoked."""
