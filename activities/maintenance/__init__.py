"""What keeps an installation in order: the chain over the audit log, partitions, retention, exports, erasure."""
