"""A members' shop whose tokens, ids and versions are random in each instance."""
