"""Decides recorded tasks again under another policy, and says what would have come of it."""
