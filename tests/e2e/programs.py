"""Programs that these tests hold proftool by, most of them by other people, each with the words that start it in a folder of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SERVER = """
import asyncio

async def answer(reader, writer):
    while line := await reader.readline():
        writer.write(b"%d\\n" % collatz(int(line)))
        await writer.drain()
    writer.close()

def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps

async def client(port, first):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    total = 0
    for n in range(first, first + 150):
        writer.write(b"%d\\n" % n)
        await writer.drain()
        total += int(await reader.readline())
    writer.close()
    await writer.wait_closed()
    return total

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(client(port, 10_000 * k + 1) for k in range(8))))
    server.close()

asyncio.run(main())
"""

POOL = """
from concurrent.futures import ProcessPoolExecutor

def is_prime(n):
    return n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))

def count_primes(limits):
    return sum(is_prime(n) for n in range(*limits))

def main():
    with ProcessPoolExecutor(2) as pool:
        print(sum(pool.map(count_primes, [(k, k + 5_000) for k in range(0, 60_000, 5_000)])))

if __name__ == "__main__":
    main()
"""

QUERY = """
select u.id, u.name, count(*) as n, (select max(p.at) from posts p where p.user_id = u.id and p.kind in (1, 2, 3)) latest
from users u left join posts p on p.user_id = u.id and p.at between '2024-01-01' and '2024-12-31' where u.name like 'a%' or
(u.age > 30 and not exists (select 1 from bans b where b.user_id = u.id)) group by u.id, u.name having count(*) > 3 order by n desc;
"""


@dataclass(frozen=True)
class RealProgram:
    """A command line, what of it is its own, and what may differ between two runs."""

    words: Callable[[Path], list[str]]
    """Prepares the folder and gives the words after `python`."""
    own: tuple[str, ...]
    """Top packages (or the script's name without ending) whose functions are the program's own."""
    status: int = 0
    varies: str | None = None
    """A pattern of the output that is never the same twice."""

    def steady(self, output: str) -> str:
        """The output without what is never the same twice."""
        return output if self.varies is None else re.sub(self.varies, "…", output)


def _write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return name


PROGRAMS: dict[str, RealProgram] = {
    # A style checker over a package of the standard library; it finds faults, so its status is 1.
    "pycodestyle": RealProgram(
        lambda _folder: ["-m", "pycodestyle", "--max-line-length=60", str(Path(json.__file__).with_name("decoder.py"))], ("pycodestyle",), 1
    ),
    "sqlparse": RealProgram(
        lambda folder: ["-m", "sqlparse", "--reindent", "--keywords", "upper", _write(folder, "queries.sql", QUERY * 12)], ("sqlparse",)
    ),
    "pytest": RealProgram(
        lambda _folder: ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "tornado.test.escape_test"],
        ("tornado",),
        varies=r"in \d+\.\d+s",
    ),
    "server": RealProgram(lambda folder: [_write(folder, "server.py", SERVER)], ("server", "asyncio", "__main__")),
    "pool": RealProgram(lambda folder: [_write(folder, "pool.py", POOL)], ("pool", "__main__", "concurrent", "__mp_main__")),
}
