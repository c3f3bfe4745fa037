"""Curve figure: a figure of matplotlib that a notebook shows by itself, without pyplot."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class CurveFigure(Figure):
    """What pyplot would register is shown by what notebooks ask of any object."""

    def _repr_png_(self) -> bytes:
        return self.png()

    def png(self) -> bytes:
        """The picture as a PNG, without the version of matplotlib in it."""
        picture = io.BytesIO()
        self.savefig(picture, format="png", metadata={"Software": None})
        return picture.getvalue()
