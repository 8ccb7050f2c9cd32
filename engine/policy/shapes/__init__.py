"""The shapes of policy, catalog and test files: which keys exist and what each takes."""
