"""RUN of the JSON documents (docs/reference/json.md): one stored run's circumstances. Unknown is null; keys are never renamed."""

from __future__ import annotations

from proftool.contracts_store import Run


def run_document(run: Run) -> dict[str, object]:
    """The run as `list`, `show` and `diff` print it."""
    return {
        "id": run.id,
        "label": run.label,
        "modes": list(run.modes),
        "backends": list(run.backends),
        "command": None if run.command is None else list(run.command),
        "exit_status": run.exit_status,
        "started_at": run.started_at,
        "duration_s": run.duration_s,
        "git": None if run.commit is None else {"commit": run.commit, "branch": run.branch, "dirty": run.dirty},
        "python": run.python,
        "host": run.host,
        "quality": {
            "verdict": run.quality.verdict if run.quality else None,
            "reasons": list(run.quality.reasons) if run.quality else [],
            "samples": run.samples,
            "rate_asked_hz": run.rate_asked_hz,
            "rate_achieved_hz": run.rate_achieved_hz,
        },
        "totals": dict(run.totals),
        "size_bytes": run.size_bytes,
    }
