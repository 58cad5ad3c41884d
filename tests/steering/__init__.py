"""Rollbacks, forks and what they undo, against a real database."""
