"""The Model Context Protocol over stdio, by its official SDK: agent.py's functions as tools."""

from __future__ import annotations

from importlib.util import find_spec

from proftool import __version__
from proftool.errors import BackendUnavailable
from proftool.integrations.agent import TOOLS

_INSTRUCTIONS = (
    "Profile Python programs and prove that a change helps. Record first (`record`), read `show`, then `show` with by=line or `source` for "
    "the lines; change the code; `measure` compares the working tree with a git revision. Runs stay: name them by id or label."
)


def serve() -> None:
    """Answer on stdin and stdout until stdin ends; BackendUnavailable without the SDK."""
    if find_spec("mcp") is None:
        raise BackendUnavailable("`proftool mcp` needs the protocol's SDK", cause="it is not installed", fix="pip install 'proftool[mcp]'")
    from mcp.server import MCPServer

    server = MCPServer("proftool", version=__version__, instructions=_INSTRUCTIONS)
    for tool in TOOLS:
        server.tool()(tool)
    server.run("stdio")
