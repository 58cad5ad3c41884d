"""Flows: steps whose agents may each use another framework.

`definition.py` is the pure half, which also plans the nodes of a run; `adapter.py` runs the agents by the adapters of their
frameworks. There is no framework of this name to install.
"""
