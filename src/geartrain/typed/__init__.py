"""Python signatures over workloads: declare a function once, call it from anywhere.

``App`` collects ``Function``s; workers do them, clients call them with checked
arguments. What goes over the wire has no envelope, so other languages can call a
typed function, and be called as one.
"""
