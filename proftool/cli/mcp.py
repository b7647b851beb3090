"""`proftool mcp`: a server for agents on stdin and stdout."""

from __future__ import annotations


def mcp() -> None:
    """Serve agents by the Model Context Protocol on stdin and stdout: record, show, compare, measure, source."""
    from proftool.integrations.mcp import serve

    serve()
