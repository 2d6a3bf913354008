"""A file as text and as bytes at once: where a line and a column stand in both."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from pathlib import Path

from normadvisor.errors import RewriteError
from normadvisor.files.source import decoded, encoding_of
from normadvisor.rewrite.text.lines import TextLines
from normadvisor.types import Location

__all__ = ["EncodedText"]

_MARK = codecs.BOM_UTF8


class EncodedText(TextLines):
    """A Python file.

    Attributes:
        encoding: how it is encoded.

    Raises:
        TargetError: it is not in the encoding it claims.

    """

    def __init__(self, data: bytes, path: Path) -> None:
        claimed = encoding_of(data, path)
        self._path = path
        self._data = data
        self._mark = len(_MARK) if claimed == "utf-8-sig" and data.startswith(_MARK) else 0
        self.encoding = "utf-8" if claimed == "utf-8-sig" else claimed
        super().__init__(decoded(data[self._mark :], self.encoding, path))

    def encoded(self, text: str, location: Location) -> bytes:
        """Text in the encoding of the file.

        Raises:
            RewriteError: the encoding has no such character.

        """
        try:
            return text.encode(self.encoding)
        except UnicodeEncodeError as error:
            letter = text[error.start : error.start + 1]
            message = f"{letter!a} cannot be written in the encoding of the file, {self.encoding}"
            raise RewriteError(message, location=location) from error

    def byte_offsets(self, offsets: Iterable[int]) -> dict[int, int]:
        """Positions in the file of positions in the text."""
        wanted = sorted(set(offsets))
        body = self._data[self._mark :]
        if len(body) == len(self.text):  # one byte each
            found = {offset: offset for offset in wanted}
        elif self.encoding == "utf-8":
            found = self._by_encoding(wanted)
        else:
            found = self._by_decoding(wanted, body)
        return {offset: position + self._mark for offset, position in found.items()}

    def _by_encoding(self, wanted: list[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        last = position = 0
        for offset in wanted:
            position += len(self.text[last:offset].encode(self.encoding))
            found[offset] = position
            last = offset
        return found

    def _by_decoding(self, wanted: list[int], body: bytes) -> dict[int, int]:
        """Byte for byte, since some encodings write one character in several ways, and some switch between sets of characters.

        Of several positions between the same two characters that one is taken where the decoder is as it was at the start: there
        other text can stand.
        """
        try:
            decoder = codecs.getincrementaldecoder(self.encoding)()
        except LookupError as error:
            message = f"a file in the encoding {self.encoding} cannot be edited"
            raise RewriteError(message, location=Location(str(self._path), 1)) from error
        missing, found = set(wanted), dict[int, int]()
        start = decoder.getstate()
        if 0 in missing:
            found[0] = 0
            missing.discard(0)
        count = 0
        for position, byte in enumerate(body, 1):
            count += len(decoder.decode(bytes((byte,))))
            if count in missing:
                state = decoder.getstate()
                if state == start:
                    found[count] = position
                    missing.discard(count)
                elif not state[0]:
                    found.setdefault(count, position)
        if missing - found.keys():
            message = f"an edit stands within a character of the encoding {self.encoding}"
            raise RewriteError(message, location=Location(str(self._path), 1))
        return found
