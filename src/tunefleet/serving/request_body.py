"""Request body: the JSON of a request, of a type that no page of another site can send, and not too large."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from tunefleet.serving.completion_request import ApiError

CONTENT_TYPE = "application/json"
"""What a page of another site cannot send without being asked by its browser first."""
LARGEST = 16 << 20
"""Bytes of a body."""


async def read_json(request: Request) -> Any:
    """The body. Raises `ApiError` for one of another type, too large, or no JSON."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != CONTENT_TYPE:
        raise ApiError("The body is JSON: send it with Content-Type: application/json.")
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > LARGEST:
            raise ApiError(f"The body has more than {LARGEST >> 20} MiB.", status=413)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ApiError("The body is no JSON in UTF-8.") from None
