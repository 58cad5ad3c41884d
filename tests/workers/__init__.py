"""The worker process: how it starts and stops, and what its reconciler repairs."""
