"""The native format: lines, versions, redaction, and files that went wrong."""

import gzip
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctgkit.errors import RecordingError
from ctgkit.recording.format import (
    MARK,
    VERSION,
    FormatError,
    Header,
    Line,
    decode_header,
    decode_line,
    encode_header,
    encode_line,
    redact_frame,
    redact_headers,
)
from ctgkit.recording.journal import JournalReader, JournalWriter

HEADER = Header(version=VERSION, created="2026-11-23T01:00:00Z", simulated=True, seed=7)


@given(st.binary(max_size=200), st.booleans(), st.sampled_from("<>"), st.floats(0, 1e6))
def test_any_message_survives_byte_for_byte(frame, is_text, what, t_s):
    """Text, binary, and text that is no UTF-8."""
    line = decode_line(encode_line(Line(t_s, "s1", what, frame, is_text)))
    assert line == Line(round(t_s, 6), "s1", what, frame, is_text)


def test_a_line_is_what_jq_users_expect():
    """Time, link and direction, and the message as one string."""
    assert json.loads(encode_line(Line(0.25, "s1", ">", b'{"a":1}'))) == [0.25, "s1 >", '{"a":1}']
    closed = Line(9.5, "s1", "close", about={"by": "client", "code": 1000, "reason": ""})
    assert decode_line(encode_line(closed)) == closed
    assert decode_header(encode_header(HEADER)) == HEADER


@given(st.binary(max_size=80))
def test_any_bytes_give_a_line_or_one_error(data):
    """Nothing else leaves the decoders."""
    for decode in (decode_line, decode_header):
        try:
            decode(data)
        except FormatError:
            continue


def test_older_versions_go_through_a_chain_and_newer_ones_are_refused():
    """One step per version; who is too new is asked to update."""
    steps = {VERSION - 1: lambda raw: raw if isinstance(raw, dict) else [raw[0] / 1000, *raw[1:]]}
    old = json.dumps({MARK: VERSION - 1}).encode()
    assert decode_header(old, steps).version == VERSION - 1
    assert decode_line(b'[250, "s1 >", ""]', VERSION - 1, steps).t_s == 0.25
    with pytest.raises(FormatError, match="no converter from"):
        decode_header(old, {})
    with pytest.raises(FormatError, match="update ctgkit"):
        decode_header(json.dumps({MARK: VERSION + 1}).encode())


@pytest.mark.parametrize("name", ["run.jsonl", "run.jsonl.gz"])
def test_a_crash_loses_at_most_the_last_line(tmp_path, name):
    """Wherever the file ends, every whole line is read and the cut is named."""
    path = tmp_path / name
    lines = [Line(n / 4, "s1", ">", b'{"n":%d}' % n) for n in range(20)]
    writer = JournalWriter(path, HEADER, durable=True)
    for line in lines:
        writer.write(line)
    written = path.read_bytes()  # nobody closed it
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(written)
    reader = JournalReader(cut, skip_bad=True)
    assert list(reader) == lines
    cut.write_bytes(written[:-9])
    with pytest.raises(RecordingError, match=r"line \d+: truncated"):
        list(JournalReader(cut))
    reader = JournalReader(cut, skip_bad=True)
    assert list(reader) == lines[:-1]
    assert reader.bad == 1  # only what was being written is lost
    writer.__exit__(None, None, None)
    assert list(JournalReader(path)) == lines


def test_a_corrupt_line_is_named_or_skipped(tmp_path):
    """Its number is the file's, and what follows is read."""
    path = tmp_path / "run.jsonl"
    with JournalWriter(path, HEADER) as writer:
        writer.write(Line(0, "s1", ">", b"a"))
    with path.open("ab") as file:
        file.write(b'[1,"s1 >",]\n[2,"s1 ?","x"]\n')
        file.write(encode_line(Line(3, "s1", ">", b"b")) + b"\n")
    with pytest.raises(RecordingError) as caught:
        list(JournalReader(path))
    assert caught.value.line == 3
    reader = JournalReader(path, skip_bad=True)
    assert [line.frame for line in reader] == [b"a", b"b"]
    assert reader.bad == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a recording"),
        (b"sec,bpm\n", "not a recording"),
        (b'{"simulated": true}\n', "its first line has no"),
        (json.dumps({MARK: VERSION, "seed": "x"}).encode(), "bad header"),
    ],
)
def test_what_is_no_recording(tmp_path, content, reason):
    """The first line tells."""
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=reason):
        JournalReader(path)


def test_files_that_cannot_be_opened_or_replaced(tmp_path):
    """Missing, not gzip, there already."""
    with pytest.raises(RecordingError, match="No such file"):
        JournalReader(tmp_path / "missing.jsonl")
    (tmp_path / "broken.jsonl.gz").write_bytes(b"\x1f\x8b not what follows")
    with pytest.raises(RecordingError, match="compression"):
        JournalReader(tmp_path / "broken.jsonl.gz")
    (tmp_path / "plain.jsonl.gz").write_bytes(encode_header(HEADER) + b"\n")
    assert JournalReader(tmp_path / "plain.jsonl.gz").header == HEADER  # the bytes tell, not a name
    with pytest.raises(RecordingError, match="exists already"):
        JournalWriter(tmp_path / "plain.jsonl.gz", HEADER, replace=False)


@given(st.text(max_size=20))
def test_no_token_stays_in_a_message(secret):
    """Whatever it contains."""
    frame = msgspec.json.encode({"viewer_token": secret, "n": 1})
    assert msgspec.json.decode(redact_frame(frame)) == {"viewer_token": "[redacted]", "n": 1}


def test_headers_are_named_and_only_harmless_ones_told():
    """An unknown header may be a secret."""
    told = redact_headers([("User-Agent", "x"), ("X-Api-Key", "s"), ("Sec-WebSocket-Key", "k")])
    assert told == {"User-Agent": "x", "X-Api-Key": "[redacted]"}


def test_gzip_is_by_extension(tmp_path):
    """Readable with zcat and jq."""
    path = tmp_path / "run.jsonl.gz"
    with JournalWriter(path, HEADER) as writer:
        writer.write(Line(0, "s1", ">", b"a"))
    assert gzip.decompress(path.read_bytes()).endswith(b'[0,"s1 >","a"]\n')
