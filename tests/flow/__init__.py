"""Flows: planning, beginning, ending and editing nodes, and running them over all frameworks."""
