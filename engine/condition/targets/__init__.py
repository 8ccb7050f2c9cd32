"""What runs checked conditions: compiled Python functions, and the reference interpreter."""
