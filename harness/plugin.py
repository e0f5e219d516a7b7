"""The pytest plugin: collects scenario files and serves the readiness fixtures."""
