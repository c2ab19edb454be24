"""For our tests and our users': a server to test against, the contract that stores must pass."""
