"""Proves what a ledger holds: a Merkle log of its rows, signed checkpoints, tiles, and keys."""
