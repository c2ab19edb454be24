"""Moving bytes, whatever they mean: addresses, streams, TLS, and which server is up."""
