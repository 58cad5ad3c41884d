"""Encryption at rest: ciphers, keys and their rotation, sealed columns, what lies on disks."""
