"""Replay of a recording on absolute deadlines, in a child process."""
