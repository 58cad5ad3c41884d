"""Adapters: one package per agent framework, behind the contract of `base`.

Each has `definition` (pure: checks and plans a definition without loading the framework; the API uses it) and `adapter`
(imports the framework; only workers load it, by name, through `registry`).
"""
