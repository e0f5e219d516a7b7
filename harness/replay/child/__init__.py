"""The load generator's own process: the only package that knows Locust and gevent. See `harness/replay/protocol.py`."""
