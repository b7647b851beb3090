"""ClickHouse over HTTP for tests: the real engine (package `chdb`) behind a door of its protocol.

No package ships the server. The engine is the server's; what stands in for it is its front door: questions, parameters, settings,
inserts in `Native`, errors with a status. One process owns the folder and several clients talk to it, as with a server.

    python clickhouse.py FOLDER PORT     prints its port (0: any that is free), serves until stdin ends
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

_INSERT = re.compile(
    rb"\s*INSERT\s+INTO\s+(?P<table>\S+)\s*(?P<columns>\([^)]*\))?\s*(?:SETTINGS[^\n]*?)?FORMAT\s+Native\s*?\n", re.IGNORECASE
)
_OWN = {"query", "database", "session_id", "session_timeout", "query_id", "compress", "decompress", "enable_http_compression", "role"}
_OWN |= {
    "client_protocol_version",
    "wait_end_of_query",
    "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
    "buffer_size",
}


class ClickHouse:
    """The engine behind a port of this machine, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        """Start it, where it was before, and wait until it answers."""
        words = [sys.executable, __file__, str(self.folder), str(self.port)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        told = self.process.stdout.readline()
        assert told.strip().isdigit(), "the engine does not start"
        self.port = int(told)

    def stop(self) -> None:
        """End it; what it has confirmed is on disk."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(120)
        self.process.stdout.close()

    def url(self, database: str) -> str:
        """For PROFTOOL_FLEET."""
        return f"clickhouse://default@127.0.0.1:{self.port}/{database}"


def _serve(folder: str, port: int) -> None:
    import chdb

    lock = threading.Lock()
    connection = chdb.connect(folder)

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self._body()
            asked = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            text = asked.get("query", "").encode()
            content = text + (b"\n" if text and body else b"") + body
            given = {name[6:]: value for name, value in asked.items() if name.startswith("param_")}
            settings = {k: v for k, v in asked.items() if k not in _OWN and not k.startswith("param_")}
            try:
                with lock:
                    answer, format = self._do(content, given, settings)
            except Exception as error:
                self._answer(500, str(error).encode(), {"X-ClickHouse-Exception-Code": _code(str(error))})
                return
            self._answer(200, answer, {"X-ClickHouse-Format": format, "X-ClickHouse-Summary": "{}", "X-ClickHouse-Timezone": "UTC"})

        def _do(self, content: bytes, given: dict[str, str], settings: dict[str, str]) -> tuple[bytes, str]:
            clause = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
            insert = _INSERT.match(content)
            if insert is not None:
                with tempfile.NamedTemporaryFile(suffix=".native") as file:
                    file.write(content[insert.end() :])
                    file.flush()
                    into = f"INSERT INTO {insert['table'].decode()} {(insert['columns'] or b'').decode()} FROM INFILE '{file.name}'"
                    connection.query(f"{into}{f' SETTINGS {clause}' if clause else ''} FORMAT Native")
                return b"", "Native"
            sql = content.decode()
            format = re.search(r"\bFORMAT\s+(\w+)\s*;?\s*$", sql)
            name = format[1] if format else "TabSeparated"
            for setting, value in settings.items():
                connection.query(f"SET {setting} = '{value}'")
            return connection.query(sql, name, params=given).bytes() or b"", name

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "") == "chunked":
                parts: list[bytes] = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                body = b"".join(parts)
            else:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            encoding = self.headers.get("Content-Encoding")
            if encoding == "lz4":
                import lz4.frame

                return lz4.frame.decompress(body)
            assert encoding is None, encoding
            return body

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            try:
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:  # the client was killed
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # a client that was killed
                super().handle_error(request, client_address)  # type: ignore[arg-type]

    server = Server(("127.0.0.1", port), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    server.shutdown()
    connection.close()


def _code(text: str) -> str:
    found = re.search(r"Code: (\d+)", text)
    return found[1] if found else "1"


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
