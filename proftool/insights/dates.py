"""Dates parsed by a format string: `strptime` is Python code that builds a regular expression from the format."""

from proftool.insights.costly_call import CostlyCall

rule = CostlyCall(
    id="strptime",
    callees=frozenset({("_strptime", "_strptime_datetime"), ("_strptime", "_strptime_time"), ("_strptime", "_strptime")}),
    what="parses dates by `strptime`",
    advice="read ISO 8601 text with `datetime.fromisoformat`, which is C; keep what was parsed where the same text comes again",
    link="https://docs.python.org/3/library/datetime.html#datetime.datetime.fromisoformat",
    effect="measured: `fromisoformat` 44–82 times as fast; kept results, each text ten times, 6–15 times",
)
