"""What a condition depends on, why it came out as it did, and what is left of it once some values are known."""
