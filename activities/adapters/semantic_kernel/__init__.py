"""Semantic Kernel agents, orchestrations and prompt functions, one turn at a time.

`definition` judges and plans without Semantic Kernel; `adapter.create` imports it and belongs in worker processes only.
"""
