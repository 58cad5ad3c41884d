"""Plumbing that imports nothing else of ours: settings, errors, logging, metrics, Temporal names."""
