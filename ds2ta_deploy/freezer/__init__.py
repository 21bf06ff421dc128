"""The steps of freezing, one module a part of the network."""
