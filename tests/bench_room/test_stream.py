"""A stream, read event by event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bench.stream import Events, NotAStreamError, Tally, complaint
from orchestrator.bench.wire import Record
from tests.bench_room.server import DONE, answer, delta, event, usage

BODY = {"messages": [{"content": "Tell me a story"}], "max_tokens": 5}


def read(chunks: list[bytes], *, step: float = 1.0) -> Record:
    """The record of chunks that come `step` seconds apart; the request begins at 10."""
    tally, events, at = Tally(10.0), Events(), 10.0
    for chunk in chunks:
        at += step
        for data in events.feed(chunk):
            tally.add(data, at)
    return tally.end(at)


def test_an_answer_is_counted_and_timed():
    record = read(answer(BODY))
    assert (record.error, record.tokens, record.pieces, record.counted) == ("", 5, 5, True)
    assert record.prompt_tokens == 16 and record.finish == "length"
    assert record.first == 12.0, "the chunk with the role is no token"
    assert record.gaps == [1.0, 1.0, 1.0, 1.0] and record.ended == 19.0


@given(st.lists(st.integers(1, 40), max_size=60))
def test_where_the_bytes_are_cut_changes_no_count(cuts: list[int]):
    whole = b"".join(answer(BODY))
    chunks = []
    for cut in cuts:
        chunks.append(whole[:cut])
        whole = whole[cut:]
    record = read([*chunks, whole])
    assert (record.error, record.tokens, record.pieces) == ("", 5, 5)


@pytest.mark.parametrize("part", ["content", "reasoning", "reasoning_content"])
def test_reasoning_is_output_too(part: str):
    record = read([delta(**{part: "hm"}), usage(3, 1), DONE])
    assert (record.error, record.pieces, record.first) == ("", 1, 11.0)


def test_tokens_without_text_begin_with_the_first_choice():
    record = read([delta("", role="assistant"), delta(""), usage(3, 2), DONE])
    assert (record.error, record.first, record.tokens, record.pieces) == ("", 11.0, 2, 0)


def test_without_usage_pieces_are_counted_and_said_to_be():
    record = read([delta("a"), delta("b"), DONE])
    assert (record.tokens, record.counted, record.error) == (2, False, "")


@pytest.mark.parametrize(
    ("chunks", "kind", "says"),
    [
        ([delta("a"), usage(1, 1)], "cut", "[DONE]"),
        ([delta("a"), event({"error": {"message": "CUDA out of memory", "code": 500}}), DONE], "engine", "CUDA out of"),
        ([event({"object": "error", "message": "dead"}), DONE], "engine", "dead"),
        ([usage(1, 0), DONE], "empty", "no token"),
        ([], "cut", "[DONE]"),
    ],
)
def test_what_went_wrong_has_a_kind_and_the_servers_words(chunks: list[bytes], kind: str, says: str):
    record = read(chunks)
    assert record.error == kind and says in record.detail


@pytest.mark.parametrize(
    "chunk", [b"data: <html>\n", b"data: 12\n", b'data: {"a":\n', b"data: " + b"[" * 100_000 + b"\n"]
)
def test_what_is_no_stream_is_refused(chunk: bytes):
    with pytest.raises(NotAStreamError):
        read([chunk])


def test_an_endless_line_is_refused():
    events = Events()
    with pytest.raises(NotAStreamError):
        for _ in range(20):
            list(events.feed(b"x" * (1 << 20)))


def test_comments_and_other_fields_are_nothing():
    assert read([b": keep-alive\n\nevent: x\nid: 7\n", *answer(BODY)]).error == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"error": {"message": "too long"}}', "too long"),
        ('{"error": "Unauthorized"}', "Unauthorized"),
        ('{"message": "gone"}', "gone"),
        ("<html>\n502 </html>", "<html> 502 </html>"),
        ("[" * 50_000, "[" * 300),
    ],
)
def test_a_servers_complaint_is_short_and_on_one_line(text: str, said: str):
    assert complaint(text) == said
