"""What runs checked conditions: compiled Python functions, the reference interpreter, and DuckDB by SQL."""
