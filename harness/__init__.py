"""pytest-readiness: is this change ready, and who can check that answer?"""

__version__ = "0.1.0"
