"""Doing work: workers, and what their handlers receive."""
