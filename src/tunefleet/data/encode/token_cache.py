"""Token cache: ids and masks of whole texts that were tokenised before, whatever length a sequence has."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunefleet.base import files
from tunefleet.data.encode.template_rendering import Rendered

MaskedTokens = tuple[NDArray[np.int32], NDArray[np.bool_]]
"""Token ids and whether each stands in an answer that is in the loss, of the same length."""


@dataclass(frozen=True)
class TokenCache:
    """A file for each chunk of texts, named by the texts, where answers stand in them, and `identity`.

    `identity` is all else that the tokens and the mask depend on: the tokenizer, and how answers are masked.
    """

    folder: Path
    identity: str

    def read(self, path: Path) -> list[MaskedTokens] | None:
        """What the texts of `path` became; None where they were not tokenised yet, or the file is broken (by its
        CRC-32).
        """
        try:
            with open(path, "rb", opener=files.plain) as stream, np.load(stream) as arrays:
                tokens, in_loss, counts = (arrays[name] for name in ("tokens", "in_loss", "counts"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        bounds = np.cumsum([0, *counts]).tolist()
        return [(tokens[start:end].copy(), in_loss[start:end].copy()) for start, end in pairwise(bounds)]

    def write(self, path: Path, masked: Sequence[MaskedTokens]) -> None:
        """Keeps them for the next preparation. A disk that is full keeps nothing: this saves time, and no more."""
        temporary = files.temporary_beside(path)
        tokens, in_loss = (np.concatenate(arrays) for arrays in zip(*masked, strict=True))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb", opener=files.new_file) as stream:
                np.savez(stream, tokens=tokens, in_loss=in_loss, counts=[len(ids) for ids, _ in masked])
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()

    def path(self, rendered: Sequence[Rendered]) -> Path:
        """The file for these texts."""
        digest = hashlib.blake2b(self.identity.encode(), digest_size=16)
        digest.update(np.array([(len(text.text), len(text.answers)) for text in rendered], np.int64).tobytes())
        digest.update(np.array([span for text in rendered for span in text.answers], np.int64).tobytes())
        digest.update("".join([text.text for text in rendered]).encode("utf-8", "surrogatepass"))
        return self.folder / f"{digest.hexdigest()}.npz"
