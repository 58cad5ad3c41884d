"""The audit log: what is written, and that nobody can change it unseen."""
