"""Bytes <-> packets: the Gearman wire, without a socket in sight."""
