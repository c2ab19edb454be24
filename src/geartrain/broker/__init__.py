"""The job server's mind: no socket, no clock, no chance, no thread.

Begin with ``broker.py``, the door; ``tables.py`` holds what it thinks about.
"""
