"""Keyed pseudonyms, rules and detectors: nothing private reaches the disk."""

from harness.recording.redaction.keys import key_fingerprint, load_or_make_key
from harness.recording.redaction.redactor import Redactor
from harness.recording.redaction.report import RedactionReport, Replaced, SecretFound
from harness.recording.redaction.rules import RedactionRules, default_rules, load_rules

__all__ = [
    "RedactionReport",
    "RedactionRules",
    "Redactor",
    "Replaced",
    "SecretFound",
    "default_rules",
    "key_fingerprint",
    "load_or_make_key",
    "load_rules",
]
