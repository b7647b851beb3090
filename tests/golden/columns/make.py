"""Makes sample.json and sample.bin: every filter, width and dtype of the columns codec, with the values that come out.

Run it only to add to the sample: decoders in other languages are held to these bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np

from proftool.formats.columns import pack, pack_strings

HERE = Path(__file__).parent
columns = {
    "nodes.parent": np.array([-1, 0, 1, 2, 1, 4, 4, 0, 7, 8, 9, 10, 11, 12, 13, -1], np.int32),
    "nodes.frame": np.array([3, 900, 17, 3, 44, 17, 65_000, 2, 2, 1, 5, 9, 900, 17, 3, 44], np.int32),
    "cells.node": np.arange(300, dtype=np.int32),
    "cells.value": np.array([10_000_000 * v for v in (1, 3, 12, 70_000, 5, 1, 1, 2)], np.int64),
    "samples.time_ns": np.cumsum(np.array([7, 999_983, 1_000_003, 1_000_001, 999_999] * 40, np.int64)),
    "cells.delta": np.array([-5, 3_000_000_000_000, -1, 0, 2**52, 7], np.int64),
    "lanes.start_ns": np.array([-1, -1], np.int64),
    "functions.kind": np.array([0, 1, 0, 4, 255], np.uint8),
    "empty": np.zeros(0, np.int32),
}
strings = ["", "main", "outer.<locals>.inner", "größe", "日本語", "a\nb"]
header, body = pack(columns)
text, packed = pack_strings(strings)
(HERE / "sample.bin").write_bytes(body + packed)
document = {
    "columns": msgspec.to_builtins(header),
    "values": [c.tolist() for c in columns.values()],
    "text": msgspec.to_builtins(text),
    "strings": strings,
}
(HERE / "sample.json").write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")
