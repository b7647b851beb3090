"""Takes messages out of the queue, each a traceparent, until the queue says `end`."""

import sys
from pathlib import Path

from opentelemetry import propagate, trace

import proftool
from proftool.telemetry.spans import Keep
from proftool.telemetry.tracing_start import Options


def pack(message):
    context = propagate.extract({"traceparent": message})
    with trace.get_tracer("worker").start_as_current_span("pack", context, kind=trace.SpanKind.CONSUMER):
        pass


if __name__ == "__main__":
    # A busy machine would make findings of blocked loops, which keep their traces.
    watching = proftool.watch("worker", options=Options(keep=Keep(slow_ns=10**12, share=0.0), every_s=0.1, blocked_ns=10**15))
    queue = Path(sys.argv[1])
    print("ready", flush=True)
    done = False
    while not done:
        with queue.open() as messages:
            for message in messages:
                done = message == "end\n"
                if not done:
                    pack(message.strip())
    watching.stop()
