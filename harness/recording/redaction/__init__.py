"""Keyed pseudonyms, rules and detectors: nothing private reaches the disk."""
