"""The tree of errors: three texts each, and exit statuses of the command-line contract."""

from __future__ import annotations

from proftool import errors


def every(kind: type[errors.ProftoolError]) -> list[type[errors.ProftoolError]]:
    """The class and all below it."""
    return [kind, *(each for sub in kind.__subclasses__() for each in every(sub))]


def test_exit_statuses_are_those_of_the_contract() -> None:
    """Scripts rely on these numbers."""
    assert {kind.__name__: kind.exit_code for kind in every(errors.ProftoolError) if kind.__module__ == "proftool.errors"} == {
        "ProftoolError": 1, "UsageError": 2, "TargetError": 2, "BackendError": 5, "BackendUnavailable": 3, "PermissionNeeded": 4,
        "BackendFailed": 5, "FormatError": 6, "UnknownFormat": 6, "CorruptProfile": 6, "NewerVersion": 6, "LimitExceeded": 6,
        "RunNotFound": 7, "AmbiguousRun": 7, "NotComparable": 8, "StoreError": 9, "StoreBusy": 9, "ReportError": 2,
        "AssetsMissing": 2, "ModelError": 1,
    }  # fmt: skip


def test_an_error_says_what_cause_and_fix() -> None:
    """One line each, in this order."""
    error = errors.RunNotFound("no run named `x`", cause="there is none", fix="`proftool list` shows all")
    assert str(error).splitlines() == ["no run named `x`", "cause: there is none", "fix:   `proftool list` shows all"]
