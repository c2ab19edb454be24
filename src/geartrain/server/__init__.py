"""The job server's body: sockets, turns, signals, settings."""
