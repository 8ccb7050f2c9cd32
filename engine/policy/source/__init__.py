"""YAML as a tree in which every value keeps its place."""
