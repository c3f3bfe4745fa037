"""Highlighted rows: the tokens in the loss in colour, in brackets where there is none, or marked in HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from tunefleet.report import data_page

if TYPE_CHECKING:
    from tunefleet.runs.data_preview import RowPreview

_LEARNT = "bold green"
_CUT = "bold red"
_CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {0x7F: "\u2421"}


def text(row: RowPreview, colours: bool) -> Text:
    """A row for the console; without colours the tokens in the loss stand between double brackets."""
    shown = Text(f"--- {_head(row)}\n", style="dim" if colours else "")
    cuts = dict(row.cuts)
    for number, (piece, in_loss) in enumerate(row.pieces):
        _append_cut(shown, cuts.get(number), colours)
        visible = _visible(piece)
        if colours:
            shown.append(visible, style=f"not dim {_LEARNT}" if in_loss else "not dim")
        else:
            shown.append(f"\u27e6{visible}\u27e7" if in_loss else visible)
    _append_cut(shown, cuts.get(len(row.pieces)), colours)
    return shown.append("\n")


def _append_cut(shown: Text, tokens_cut: int | None, colours: bool) -> None:
    if tokens_cut:
        shown.append(_cut(tokens_cut), style=f"not dim {_CUT}" if colours else "")


def _cut(tokens_cut: int) -> str:
    return f"[\u2702 {tokens_cut:,} token{'s' * (tokens_cut != 1)} cut]"


def page(title: str, rows: Sequence[RowPreview]) -> str:
    """Rows as one HTML page that needs nothing else; nothing in a row is read as HTML."""
    body = "".join(f"<h2>{html.escape(_head(row))}</h2>\n<pre>{_marked(row)}</pre>\n" for row in rows)
    return data_page.filled(title, body)


def _head(row: RowPreview) -> str:
    cut = (", cut" if row.tokens else ", left out: too long") if row.truncated else ""
    return f"{row.location}: {row.tokens:,} tokens, {row.loss_tokens:,} in the loss{cut}"


def _marked(row: RowPreview) -> str:
    cuts = {index: f"<del>{_cut(tokens_cut)}</del>" for index, tokens_cut in row.cuts}
    pieces = ((html.escape(_visible(piece)), in_loss) for piece, in_loss in row.pieces)
    marked = [f"<mark>{piece_html}</mark>" if in_loss else piece_html for piece_html, in_loss in pieces]
    return "".join(cuts.get(number, "") + piece_html for number, piece_html in enumerate([*marked, ""]))


def _visible(piece: str) -> str:
    """Control characters as pictures of them: a row must not move the cursor of a terminal."""
    return piece.translate(_CONTROLS)
