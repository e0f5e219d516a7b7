"""Readers of captured traffic, one format a file (`base.py` says what a reader is)."""
