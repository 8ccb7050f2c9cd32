"""Reads a shape from YAML, and reports what does not fit in an author's words."""
