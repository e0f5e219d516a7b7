"""Recordings: reading them from whatever was captured, keeping them, changing them; sending them is `harness/replay`."""
