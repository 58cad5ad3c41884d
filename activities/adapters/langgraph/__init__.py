"""LangGraph: graphs written as JSON, and graphs in Python code that the operator allows.

`definition.py` is the pure half, `adapter.py` the half that loads LangGraph. The variables below must be set before
LangGraph is imported for the first time, which is why they are set here.
"""

import os

# Without it, LangGraph imports and calls any type that is named in stored bytes.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
# Tracing sends prompts to a service outside; nobody gets that without asking for it.
os.environ.setdefault("LANGSMITH_TRACING", "false")
