"""Rows of text files: CSV (RFC 4180), JSON lines, and JSON that is one array or one object."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import IO, Any, Final

from ..errors import InputError
from .rows import BadRow, FileRow, Opened

MOST_BYTES: Final = 256 * 1024 * 1024
"""A line, an element of an array or a whole object may have so many bytes."""

_CHUNK = 1024 * 1024
_SEPARATORS: Final = {";": "`;`", "\t": "tabs", "|": "`|`"}
_BLANK = " \t\r\n"
_LONGEST_WORD = 16
"""A word of JSON, or an escape, is shorter: one that was cut off begins no further from the end."""


def csv_rows(file: Opened) -> Iterator[FileRow | BadRow]:
    """The rows of a CSV file after its header; empty fields are None. Places are lines; a row of many begins there."""
    # The module has one limit for the whole process, and prompts are longer than its default.
    csv.field_size_limit(max(csv.field_size_limit(), MOST_BYTES))
    lines = _text(file.binary)
    reader = csv.reader(lines, strict=True)
    try:
        header = _header(next(reader, []), file)
        place = reader.line_num + 1
        for fields in reader:
            here, place = place, reader.line_num + 1
            if len(fields) == len(header):
                values = {name: field if field else None for name, field in zip(header, fields, strict=True)}
                yield FileRow(here, values)
            elif fields:
                why = f"it has {len(fields)} fields, and the first line names {len(header)}"
                yield BadRow(here, why)
    except csv.Error as error:
        raise InputError(f"`{file.path}` is no CSV from line {reader.line_num} on: {error}") from error
    finally:
        lines.detach()  # the file is closed by whoever opened it


def _text(binary: IO[bytes]) -> io.TextIOWrapper:
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _header(names: list[str], file: Opened) -> list[str]:
    """The names of the columns. Raises InputError if there are none, or if they cannot be told apart or written."""
    if len(names) == 1 and (found := next((sign for sign in _SEPARATORS if sign in names[0]), None)):
        raise InputError(
            f"`{file.path}` is separated by {_SEPARATORS[found]}, and commas were expected",
            help="write it with commas, and numbers with a point",
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        why = (
            f"two columns have the name `{twice[0]}`"
            if twice
            else "it has no line with the names of its columns"
        )
        raise InputError(f"`{file.path}`: {why}")
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        raise InputError(f"`{file.path}`: the names of its columns are not UTF-8 text") from None
    return names


def json_rows(file: Opened) -> Iterator[FileRow | BadRow]:
    """The objects of JSON lines, or of one array, or the one object that the file is.

    Places are lines; in an array that where the element begins.
    """
    first = file.binary.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    file.binary.seek(0)
    if first[:1] == b"[":
        yield from _elements(file)
        return
    line = file.binary.readline(MOST_BYTES + 1)
    alone = not _is_whole(line)
    file.binary.seek(0)
    yield from _one_object(file) if alone else _lines(file)


def _lines(file: Opened) -> Iterator[FileRow | BadRow]:
    place = 0
    while line := file.binary.readline(MOST_BYTES + 1):
        place += 1
        if len(line) > MOST_BYTES:
            raise InputError(f"`{file.path}`:{place}: the line is longer than {MOST_BYTES >> 20} MiB")
        line = line.removeprefix(b"\xef\xbb\xbf") if place == 1 else line
        if line.strip():
            yield _row(place, line.strip())


def _one_object(file: Opened) -> Iterator[FileRow | BadRow]:
    content = file.binary.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(
            f"`{file.path}`: one object of JSON is larger than {MOST_BYTES >> 20} MiB",
            help="write it as JSON lines, one object on each line",
        )
    yield _row(1, content.removeprefix(b"\xef\xbb\xbf").strip())


def _elements(file: Opened) -> Iterator[FileRow | BadRow]:
    """The elements of an array, read piece by piece."""
    reader = _Pieces(file.binary)
    decoder = json.JSONDecoder(parse_float=Decimal)
    try:
        yield from _values(reader, decoder, file)
    finally:
        reader.close()


def _values(reader: _Pieces, decoder: json.JSONDecoder, file: Opened) -> Iterator[FileRow | BadRow]:
    reader.skip("[")
    while (sign := reader.next_sign()) not in ("]", ""):
        if sign == ",":
            reader.skip(",")
            continue
        place = reader.line
        try:
            value = reader.value(decoder)
        except ValueError as error:
            raise InputError(f"`{file.path}` is no JSON from line {reader.line} on: {error}") from error
        yield _object(place, value)
    if sign == "":
        raise InputError(f"`{file.path}` ends within its array")


class _Pieces:
    """The text of a file, of which no more than one value is kept."""

    def __init__(self, binary: IO[bytes]) -> None:
        self._text = _text(binary)
        self._held, self._at, self.line = "", 0, 1

    def close(self) -> None:
        """Let go of the file, which is closed by whoever opened it."""
        self._text.detach()

    def next_sign(self) -> str:
        """The next character that is not blank, which stays; empty at the end."""
        while True:
            while self._at < len(self._held) and self._held[self._at] in _BLANK:
                self.line += self._held[self._at] == "\n"
                self._at += 1
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more():
                return ""

    def skip(self, sign: str) -> None:
        if self.next_sign() == sign:
            self._at += 1

    def value(self, decoder: json.JSONDecoder) -> Any:
        """The value that begins here. Raises ValueError if there is none."""
        wanted = _CHUNK
        while True:
            try:
                value, end = decoder.raw_decode(self._held, self._at)
            except json.JSONDecodeError as error:
                # What has not been read yet may mend it, unless the mistake is far from the end.
                cut = error.msg.startswith("Unterminated") or error.pos > len(self._held) - _LONGEST_WORD
                if not cut or len(self._held) - self._at > MOST_BYTES or not self._more(wanted):
                    raise ValueError(error.msg.lower()) from None
                wanted *= 2  # so that a long value is not decoded again for every piece
                continue
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            if end == len(self._held) and self._more():
                continue  # a number may go on
            self.line += self._held.count("\n", self._at, end)
            self._at = end
            return value

    def _more(self, size: int = _CHUNK) -> bool:
        piece = self._text.read(size)
        self._held, self._at = self._held[self._at :] + piece, 0
        return bool(piece)


def _row(place: int, line: bytes) -> FileRow | BadRow:
    try:
        value = json.loads(line, parse_float=Decimal)
    except UnicodeDecodeError:
        return BadRow(place, "it is not UTF-8 text")
    except RecursionError:
        return BadRow(place, "it is nested too deeply")
    except ValueError as error:
        return BadRow(place, f"it is no JSON: {getattr(error, 'msg', str(error)).lower()}")
    return _object(place, value)


def _object(place: int, value: Any) -> FileRow | BadRow:
    return FileRow(place, value) if isinstance(value, dict) else BadRow(place, "an object was expected")


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        # The first of many lines may be bad: what begins and ends as an object is meant as one line.
        text = line.strip()
        return text.startswith(b"{") and text.endswith(b"}") and len(text) > 2
    return True
