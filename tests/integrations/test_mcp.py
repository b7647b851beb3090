"""The official client talks to `proftool mcp` over stdio, as an agent does."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from proftool.integrations.agent import BUDGET_TOKENS, CHARS_A_TOKEN, clipped

PROGRAM = """
import sys
def inner(n):
    total = 0
    for i in range(n):
        total += i * i
    return total
def outer():
    return [inner(30_000) for _ in range(150)]
outer()
print("done")
sys.exit(3)
"""

Ask = Callable[..., str]


@pytest.fixture
def talk(tmp_path: Path) -> Callable[[list[tuple[str, dict[str, object]]]], list[str]]:
    """Ask one server several things in turn; the texts that it answers."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "prog.py").write_text(PROGRAM)
    env = {key: value for key, value in os.environ.items() if key != "PROFTOOL_STORE"}
    server = StdioServerParameters(command=sys.executable, args=["-m", "proftool", "mcp"], cwd=tmp_path, env=env)

    def ask(questions: list[tuple[str, dict[str, object]]]) -> list[str]:
        async def go() -> list[str]:
            async with Client(server) as client:
                found = ["\n".join(sorted(tool.name for tool in (await client.list_tools()).tools))]
                for name, arguments in questions:
                    answer = await client.call_tool(name, arguments)
                    found.append("".join(getattr(part, "text", "") for part in answer.content))
                return found

        return asyncio.run(asyncio.wait_for(go(), 120))

    return ask


def test_an_agent_records_reads_and_finds_the_line(talk: Ask) -> None:
    """record → show → source, by one handle; the target's own output and status are told, not mixed into the protocol."""
    tools, recorded, shown, lines, listed, unknown = talk(
        [
            ("record", {"command": ["prog.py"], "label": "first"}),
            ("show", {"run": "first"}),
            ("source", {"file": "prog.py", "run": "first"}),
            ("runs", {}),
            ("show", {"run": "nothing-like-it"}),
        ]
    )
    assert tools.split() == ["attach", "compare", "measure", "record", "runs", "show", "source"]
    assert "exit status 3" in recorded
    assert "done" in recorded
    assert "inner" in shown
    hot = max(lines.splitlines()[2:], key=lambda line: float(line.split("%")[0].split()[-1]) if "%" in line else 0)
    assert "total += i * i" in hot or "for i in range(n)" in hot
    assert "first" in listed
    assert "cause:" in unknown
    assert all(len(text) <= BUDGET_TOKENS * CHARS_A_TOKEN for text in (recorded, shown, lines, listed, unknown))


def test_an_answer_over_budget_says_what_it_left_out() -> None:
    """Whole lines, and the number of those that are missing."""
    text = clipped("\n".join(f"line {n}" for n in range(5000)), budget_tokens=100)
    assert len(text) <= 400
    assert text.splitlines()[-1] == f"({5000 - len(text.splitlines()) + 1} more lines; ask with a smaller limit)"
