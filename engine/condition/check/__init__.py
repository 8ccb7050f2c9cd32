"""Checks conditions: types, signatures, and how much work they may do."""
