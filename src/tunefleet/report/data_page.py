"""Data page: the HTML around rows, which needs no other file."""

from __future__ import annotations

import html


def filled(title: str, body: str) -> str:
    """The page; `body` is HTML already, `title` is not."""
    return _PAGE.format(title=html.escape(title), body=body)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="tunefleet data show">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em auto; max-width: 60em; }}
h2 {{ font-size: 1em; color: #555; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid #ccc; padding-left: 1em; }}
mark {{ background: #c8f0c8; }}
del {{ color: #b00020; text-decoration: none; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>Marked tokens are in the loss.</p>
{body}</body>
</html>
"""

BEGINNING = _PAGE.partition("<title>")[0]
"""How every page begins: a file that begins so may be replaced by the next one."""
