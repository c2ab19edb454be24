"""Asking for work: clients, tasks, and the admin text protocol."""
