"""Connections to services outside, against doubles on loopback that behave as the services do."""
