"""The report bundle: what was found, the evidence for it and who vouches for it.

Everything that other parts need is here by name and imported on first use, so that a command that writes no report
does not pay for Parquet, templates and keys.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.report.bundle import read_bundle, write_bundle
    from harness.report.history_files import as_written
    from harness.report.keys import PublicKey, SigningKey, load_or_make_key, load_public_key
    from harness.report.layout import Bundle, Manifest, RunMeta
    from harness.report.recomputation import VerifyProblem
    from harness.report.show import print_report, print_verification, report_as_dict, verification_as_dict
    from harness.report.verification import Trust, Verification, verify

__all__ = [
    "Bundle",
    "Manifest",
    "PublicKey",
    "RunMeta",
    "SigningKey",
    "Trust",
    "Verification",
    "VerifyProblem",
    "as_written",
    "load_or_make_key",
    "load_public_key",
    "print_report",
    "print_verification",
    "read_bundle",
    "report_as_dict",
    "verification_as_dict",
    "verify",
    "write_bundle",
]

_MODULES = {
    "bundle": ("read_bundle", "write_bundle"),
    "history_files": ("as_written",),
    "keys": ("PublicKey", "SigningKey", "load_or_make_key", "load_public_key"),
    "layout": ("Bundle", "Manifest", "RunMeta"),
    "show": ("print_report", "print_verification", "report_as_dict", "verification_as_dict"),
    "recomputation": ("VerifyProblem",),
    "verification": ("Trust", "Verification", "verify"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
