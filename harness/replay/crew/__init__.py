"""Replay by several processes, here or on other machines: Locust's own master and workers, with our own records."""
