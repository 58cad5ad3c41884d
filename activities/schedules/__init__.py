"""Schedules: when they fire, how Temporal is told of them, and how a run of one begins."""
