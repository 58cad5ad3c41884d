"""Requests and answers, one module per route module."""
