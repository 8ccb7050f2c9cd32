"""Compiles policies and catalogs: names resolved, types checked, conditions compiled."""
