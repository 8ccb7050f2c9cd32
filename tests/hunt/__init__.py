"""Hunts for leaks and faults: random input against the real program, with an oracle of their own."""
