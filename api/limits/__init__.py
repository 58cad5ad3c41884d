"""Limits of tenants and keys: requests in a minute and an hour, requests and checkpoints in a month."""
