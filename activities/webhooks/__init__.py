"""Outgoing webhooks: which events there are, who is told of them, and how they are sent."""
