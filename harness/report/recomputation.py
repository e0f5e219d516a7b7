"""Compute everything right of the history again and say what differs, byte for byte.

Takes the parsed files of a report whose signature and digests hold, gives its `Bundle` and problems: a report can be
signed and still be wrong, when whoever signed it altered a finding, the verdict or the page first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.model.findings import Finding, Verdict
from harness.report import canonical
from harness.report.bundle import rendered_files, result_files
from harness.report.layout import (
    CASE,
    DSSE,
    FINDINGS,
    JUNIT,
    MANIFEST,
    PAGE,
    VERDICT,
    Bundle,
    Manifest,
    case_files,
    made_with,
)
from harness.report.signing import statement


@dataclass(frozen=True)
class VerifyProblem:
    """One thing wrong with a report: the file in it, and what."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def recompute(
    bundle: Bundle, read: Callable[[str], bytes], payload: bytes, signed_by: str
) -> Iterator[VerifyProblem]:
    """Every difference. `read` gives a file's verified bytes, `payload` is the statement that was signed."""
    different = list(_consistent(bundle, read, signed_by))
    yield from different
    try:
        findings, verdict = _judged(bundle)
    except Exception as error:  # noqa: BLE001 - a stranger's history must not end in a traceback
        yield VerifyProblem(FINDINGS, f"could not be computed again: {_said_error(error)}")
        return
    results = list(_results(bundle, read, findings, verdict))
    yield from results
    if different or results:
        return  # page and statement would differ for the same reason
    try:
        drawn = rendered_files(_before_drawing(bundle))
        expected = statement(bundle.manifest, read(MANIFEST), bundle.case, findings, verdict)
    except Exception as error:  # noqa: BLE001 - as above
        yield VerifyProblem(PAGE, f"could not be drawn again: {_said_error(error)}")
        return
    for file, data in drawn.items():
        if data != read(file):
            what = "is not what this report is drawn as: it was altered before it was signed"
            yield VerifyProblem(file, what + _versions(bundle.manifest))
    if expected != payload:
        yield VerifyProblem(DSSE, "its statement is not the one that follows from this report")


def _consistent(bundle: Bundle, read: Callable[[str], bytes], signed_by: str) -> Iterator[VerifyProblem]:
    """What is said in two places is the same in both."""
    for file, data in case_files(bundle.case).items():
        if data != read(file):
            yield VerifyProblem(file, f"does not say what {CASE} says")
    seed, planned = bundle.manifest.run.seed, bundle.case.plan.seed
    if seed != planned:
        yield VerifyProblem(MANIFEST, f"says seed {seed}, the plan says {planned}")
    if bundle.manifest.signer.keyid != signed_by:
        yield VerifyProblem(MANIFEST, "names another key than the one that signed")


def _judged(bundle: Bundle) -> tuple[tuple[Finding, ...], Verdict]:
    from harness.checks import decide, judge

    findings = judge(bundle.case, bundle.history)
    return findings, decide(bundle.case, findings)


def _said_error(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _results(
    bundle: Bundle, read: Callable[[str], bytes], findings: tuple[Finding, ...], verdict: Verdict
) -> Iterator[VerifyProblem]:
    again = result_files(findings, verdict)
    if again[FINDINGS] != read(FINDINGS):
        versions = _versions(bundle.manifest)
        for what in _differences(bundle.findings, findings):
            yield VerifyProblem(FINDINGS, what + versions)
    if again[VERDICT] != read(VERDICT):
        said, follows = (f"{v.verdict.value}, {v.sentence!r}" for v in (bundle.verdict, verdict))
        yield VerifyProblem(VERDICT, f"says {said}; computed again it is {follows}")


def _differences(reported: tuple[Finding, ...], computed: tuple[Finding, ...]) -> Iterator[str]:
    """Each finding that differs, with the fields that do."""
    old, new = ({f.id: canonical.jsonable(f) for f in findings} for findings in (reported, computed))
    for finding in sorted(old.keys() - new.keys()):
        yield f"holds {finding}, which does not follow from the history"
    for finding in sorted(new.keys() - old.keys()):
        yield f"lacks {finding}, which follows from the history"
    for finding in sorted(old.keys() & new.keys()):
        names = [name for name in sorted(new[finding]) if old[finding].get(name) != new[finding][name]]
        if names:
            shown = (
                f"{name} {_short(old[finding].get(name))} (computed {_short(new[finding][name])})"
                for name in names[:3]
            )
            yield f"{finding}: reported {', '.join(shown)}"
    if old == new:
        yield "holds the same findings in another order or more than once"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _versions(manifest: Manifest) -> str:
    """What else could explain a difference: other versions of the libraries that compute."""
    here = made_with()
    other = [
        f"{name} {there} (here {here.get(name)})"
        for name, there in sorted(manifest.made_with.items())
        if here.get(name) != there
    ]
    return f"; it was made with {', '.join(other)}" if other else ""


def _before_drawing(bundle: Bundle) -> Bundle:
    """The bundle as it was when page and JUnit were drawn: its manifest did not know them yet."""
    files = {path: digest for path, digest in bundle.manifest.files.items() if path not in (PAGE, JUNIT)}
    manifest = bundle.manifest.model_copy(update={"files": files})
    return Bundle(manifest, bundle.case, bundle.history, bundle.findings, bundle.verdict)
