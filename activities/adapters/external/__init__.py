"""Agents that run elsewhere: CrewAI AMP, LangGraph Platform, AutoGen Studio, behind a tenant's connections.

`definition.py` is the pure half; `adapter.py` asks for a run of the agent and follows it to its end. There is no framework of
this name to install, so flows and their workers serve these steps too.
"""
