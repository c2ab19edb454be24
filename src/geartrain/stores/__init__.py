"""What survives a restart: one port, its variants, and the way to find them.

``port`` says what a store does, ``registry`` finds one by URL, and the contract
that each must pass is ``geartrain.testing.store_contract``.
"""
