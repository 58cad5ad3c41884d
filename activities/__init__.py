"""Every side effect of a run: steps, the gateway to models and tools, the stores, the database records."""
