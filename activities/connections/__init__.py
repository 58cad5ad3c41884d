"""Agents that run elsewhere, behind one interface: how each service is spoken to, and which connection is meant.

`base.py` is the interface and its errors, `http.py` the way out (judged addresses, bounded answers), `reading.py` what the
services' words mean; `crewai.py`, `langgraph.py` and `autogen.py` are the services. `book.py` finds a tenant's connections.
"""
