"""Lines, and the server-sent events that they make: by the standard, and as servers write them beside it."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewright.backends.wire.lines import Event, EventReader, LineSplitter, LineTooLong, events_in
from routewright.backends.wire.values import Unreadable

BOM = b"\xef\xbb\xbf"


def lines_of(pieces: list[bytes]) -> list[bytes]:
    splitter = LineSplitter()
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return [*lines, splitter.rest()]


def read(pieces: list[bytes]) -> list[Event]:
    reader = EventReader()
    events = [reader.feed(line) for line in lines_of(pieces)]
    return [event for event in (*events, reader.rest()) if event is not None]


@given(st.lists(st.sampled_from([b"a", b"b", b"\n", b"\r", b"\r\n", BOM])), st.data())
def test_lines_do_not_depend_on_where_the_bytes_were_cut(words: list[bytes], data: st.DataObject) -> None:
    text = b"".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert lines_of(pieces) == re.split(rb"\r\n|\n|\r", text.removeprefix(BOM))


def test_a_line_without_end_is_refused() -> None:
    splitter = LineSplitter(max_line_bytes=10)
    assert splitter.feed(b"12345\n123456") == [b"12345"]
    with pytest.raises(LineTooLong):
        splitter.feed(b"78901")


def test_an_event_without_end_is_refused() -> None:
    reader = EventReader(50)
    assert [reader.feed(b"data: 1234") for _ in range(2)] == [None, None]
    with pytest.raises(Unreadable, match="an event that does not end"):
        reader.feed(b"data: 1234")


def said(*texts: bytes) -> list[Event]:
    return [Event("", text) for text in texts]


def bare(*texts: bytes) -> list[Event]:
    return [Event("", text, bare=True) for text in texts]


# What the standard says (https://html.spec.whatwg.org/multipage/server-sent-events.html), then what servers do.
STREAMS: list[tuple[str, bytes, list[Event]]] = [
    ("one line", b'data: {"a": 1}\n\n', said(b'{"a": 1}')),
    ("no space", b"data:1\n\ndata:2\n\n", said(b"1", b"2")),
    ("several lines", b'data: {"a":\ndata: 1,\ndata:"b": 2}\n\n', said(b'{"a":\n1,\n"b": 2}')),
    ("carriage returns", b"data: 1\r\rdata: 2\r\r", said(b"1", b"2")),
    ("both", b"data: 1\r\n\r\ndata: 2\r\n\r\n", said(b"1", b"2")),
    ("byte order mark", BOM + b"data: 1\n\n", said(b"1")),
    ("comments", b": hello\n\n:\ndata: 1\n: more\n\n", said(b"1")),
    ("other fields", b"id: 7\nretry: 10\nevent: x\nfoo: bar\nfoo\ndata: 1\n\n", [Event("x", b"1")]),
    ("a name after the data", b"data: 1\nevent: error\n\ndata: 2\n\n", [Event("error", b"1"), *said(b"2")]),
    ("no data", b"data\n\ndata:\n\nevent: x\n\nid: 1\n\n", []),
    ("no blank line at the end", b"data: 1\n\ndata: 2\n", said(b"1", b"2")),
    ("no line end at the end", b"data: 1\n\ndata: 2", said(b"1", b"2")),
    ("no blank lines between objects", b"data: {}\ndata: {}\ndata: [DONE]\n", said(b"{}", b"{}", b"[DONE]")),
    (
        "named, without blank lines",
        b"event: a\ndata: {}\nevent: b\ndata: {}\n",
        [Event("a", b"{}"), Event("b", b"{}")],
    ),
    ("an error as a field", b'error: {"code": 500}\n\n', [Event("error", b'{"code": 500}')]),
    ("an error alone", b'data: 1\n\n{"error": "x"}\n\n', [*said(b"1"), *bare(b'{"error": "x"}')]),
    (
        "an error alone, at once",
        b'{"error": "x"}\ndata: [DONE]\n\n',
        [*bare(b'{"error": "x"}'), *said(b"[DONE]")],
    ),
    ("a body", b'{\n  "a": [\n    1\n  ]\n}', bare(b'{\n"a": [\n1\n]\n}')),
    ("bodies", b'{"a": 1}\n{"b": 2}\n', bare(b'{"a": 1}', b'{"b": 2}')),
    ("a page", b"<html>\nfoo: bar\n</html>", bare(b"<html>\nfoo: bar\n</html>")),
    ("words", b"Internal Server Error", bare(b"Internal Server Error")),
    # Damaged on its way: the data is not passed over, and what it is damaged to is not JSON.
    ("a damaged field", b'dbta: {"a": 1}\n\n', bare(b'dbta: {"a": 1}')),
    ("a field damaged in its middle", b'dat:: {"a": 1}\n\n', bare(b'dat:: {"a": 1}')),
    ("a damaged blank line", b'data: {"a": 1}\nxdata: {"b": 2}\n\n', said(b'{"a": 1}\nxdata: {"b": 2}')),
]


@pytest.mark.parametrize(("name", "raw", "events"), STREAMS, ids=[name for name, _, _ in STREAMS])
def test_events_wherever_the_bytes_were_cut(name: str, raw: bytes, events: list[Event]) -> None:
    for cut in range(len(raw) + 1):
        assert read([raw[:cut], raw[cut:]]) == events, cut
    as_body = [] if any(event.bare for event in events[:1]) else events
    assert list(events_in(raw)) == as_body, name


def test_a_body_that_is_no_stream_of_events_is_told_by_its_beginning() -> None:
    for body in (b"", b"{}", b" [1]", b"<html>", b'"data: 1"'):
        assert list(events_in(body)) == []


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=9) | st.integers(), max_size=3)),
    st.sampled_from([b"\n", b"\r", b"\r\n"]),
    st.sampled_from([1, 2]),
    st.sampled_from([None, 1]),
)
def test_what_is_sent_as_json_is_read_whatever_ends_lines_and_events(
    values: list[dict[str, object]], end: bytes, ends: int, indent: int | None
) -> None:
    raw = b""
    for value in values:
        for line in json.dumps(value, indent=indent).encode().splitlines():
            raw += b"data: " + line + end
        raw += end * (ends - 1)
    assert [json.loads(event.data) for event in read([raw])] == values
