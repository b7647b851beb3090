"""JSON in the hot path; `json.dumps` with `indent` or a default function leaves C and walks in Python."""

from proftool.insights.costly_call import CostlyCall

rule = CostlyCall(
    id="json",
    callees=frozenset({("json", "dumps"), ("json", "dump"), ("json", "loads"), ("json", "load")}),
    what="reads or writes JSON",
    advice="encode or decode once and pass the objects on; drop `indent` where no person reads it; msgspec or orjson do the same work in C",
    link="https://docs.python.org/3/library/json.html",
    effect="measured: a round trip without `indent` 1.8–3.5 times as fast, by msgspec 4.2–6.5 times",
)
