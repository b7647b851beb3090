"""proftool's recording half as a process of its own, so that tests can signal it: `recorder.py RESULT JSON`.

JSON: {"backend", "words", "module", "code", "python", "options"}; the result file gets what was recorded, as JSON.
"""

import json
import sys
import tempfile
from pathlib import Path


def main() -> int:
    from proftool.errors import ProftoolError

    result, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
    try:
        with tempfile.TemporaryDirectory(dir=asked.get("folder", result.parent)) as folder:
            told = record(asked, Path(folder))
    except ProftoolError as error:
        told = {"error": type(error).__name__, "text": str(error), "exit_status": error.exit_code}
        print(error, file=sys.stderr)
    result.write_text(json.dumps(told))
    return int(told["exit_status"])


def record(asked: dict, folder: Path) -> dict:
    from proftool import registry
    from proftool.contracts import RecordOptions, Unavailable
    from proftool.errors import BackendUnavailable, ProftoolError
    from proftool.launch.interpreter import inspect
    from proftool.launch.start import launch
    from proftool.launch.targets import resolve

    backend = registry.backend(asked["backend"])
    python = Path(asked["python"]) if asked.get("python") else None
    program = resolve(asked.get("words", []), module=asked.get("module"), code=asked.get("code"), python=python)
    available = backend.availability(inspect(program.python))
    if isinstance(available, Unavailable):
        raise BackendUnavailable("not available", cause=available.cause, fix=available.fix)
    options = RecordOptions(mode=next(iter(backend.capabilities.modes)), **asked.get("options", {}))
    recording = launch(program, backend.command(program, options, folder), options, folder)
    told = {
        "exit_status": recording.exit_status,
        "interrupted": recording.interrupted,
        "notes": [*recording.notes, *(note for process in recording.processes for note in process.notes)],
        "processes": [
            {"pid": p.pid, "name": p.name, "complete": p.complete, "reason": p.exit_reason, "parts": len(p.parts)}
            for p in recording.processes
        ],
    }
    try:
        profile = backend.read(recording)
    except ProftoolError as error:
        return told | {"failed": str(error)}
    lanes = profile.lanes
    functions, nodes, frames = profile.functions, profile.nodes, profile.frames
    totals: dict[str, dict[str, int]] = {}
    for node, metric, value in zip(profile.cells.node.tolist(), profile.cells.metric.tolist(), profile.cells.value.tolist(), strict=True):
        seen = set()
        name = profile.metrics[metric].name
        while node >= 0:
            function = functions.qualname[frames.function[nodes.frame[node]]]
            if function not in seen:
                seen.add(function)
                row = totals.setdefault(profile.text(int(function)), {})
                row[name] = row.get(name, 0) + value
            node = int(nodes.parent[node])
    one = profile.meta.passes[0]
    return told | {
        "totals": totals,
        "files": sorted({profile.text(int(file)) for file in functions.file}),
        "metrics": [metric.name for metric in profile.metrics],
        "sums": {
            metric.name: int(profile.cells.value[profile.cells.metric == index].sum()) for index, metric in enumerate(profile.metrics)
        },
        "lanes": [
            {
                "pid": int(lanes.pid[row]),
                "process": profile.text(int(lanes.process_name[row])),
                "thread": profile.text(int(lanes.thread_name[row])),
                "main": bool(lanes.is_main[row]),
            }
            for row in range(len(lanes))
        ],
        "pass": {
            "complete": one.complete,
            "unseen": one.unseen,
            "notes": one.notes,
            "exit_status": one.exit_status,
            "version": one.backend_version,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
