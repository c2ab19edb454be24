"""Noise for everything that reads: one target for each pure reader.

``python -m fuzz --help`` says how to run it. A target is a function of bytes that
either returns, or raises one of the errors it lists as allowed: anything else, and
anything that takes ten seconds, is a find.
"""
