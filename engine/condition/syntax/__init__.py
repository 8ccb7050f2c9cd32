"""The text of conditions: tokens, the parsed expression, and its canonical text."""
