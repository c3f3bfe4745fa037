"""Even sample: the positions that stand for a whole list when only some are looked at."""

from __future__ import annotations

import zlib


def evenly_spaced(total: int, limit: int) -> list[int]:
    """`limit` of `total` positions, in order: one of each of `limit` equal parts, the same at every call.

    A set sorted by its labels gives of each its share. The position within a part is drawn from the part's number, so
    that a set whose labels alternate is not met at every return of the same one.
    """
    if limit >= total:
        return list(range(total))
    if limit <= 0:
        return []
    edges = [part * total // limit for part in range(limit + 1)]
    return [low + zlib.crc32(b"%d" % part) % (edges[part + 1] - low) for part, low in enumerate(edges[:-1])]
