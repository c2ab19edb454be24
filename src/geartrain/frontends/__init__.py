"""One connection's language: bytes in, calls to the broker; replies in, bytes out."""
