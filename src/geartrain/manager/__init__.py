"""Processes that do jobs: kept at their number, recycled, reloaded, stopped gracefully.

``supervisor.py`` decides, and starts nothing; ``manager.py`` forks, kills and
listens; ``child.py`` is what runs in each process.
"""
