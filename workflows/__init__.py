"""Deterministic code only: what Temporal replays. Imports nothing with side effects."""
