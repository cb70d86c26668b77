"""Compressed files of several streams."""

import bz2
import io
import lzma

import pytest

from roberta_core.data import decompression
from roberta_core.data.decompression import StreamsReader

TEXT = b"".join(b"line %d\n" % (number * 7919 % 10007) for number in range(40_000))
KINDS = {"bz2": (bz2.compress, bz2.BZ2Decompressor), "xz": (lzma.compress, lzma.LZMADecompressor)}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture(params=[7, 1000, 1 << 16])
def chunk(request, monkeypatch):
    monkeypatch.setattr(decompression, "CHUNK", request.param)


def open_streams(content, build):
    return io.BufferedReader(StreamsReader(io.BytesIO(content), build))


@pytest.mark.parametrize("between", [b"", bytes(4), bytes(2000)])
@pytest.mark.parametrize("after", [b"", bytes(8)])
@pytest.mark.usefixtures("chunk")
def test_streams_are_read_one_after_the_other(kind, between, after):
    compress, build = kind
    streams = [compress(TEXT[:100_000]), compress(b""), compress(TEXT[100_000:])]
    assert open_streams(between.join(streams) + after, build).read() == TEXT


@pytest.mark.parametrize("rest", [b"garbage", b"\0\0garbage", b"B", bytes(3) + b"\xfd7zXZ"])
def test_damage_after_a_stream_is_an_error(kind, rest):
    compress, build = kind
    with pytest.raises((OSError, EOFError, lzma.LZMAError)):
        open_streams(compress(TEXT) + rest, build).read()


def test_a_damaged_second_stream_is_an_error_after_the_lines_before(kind):
    compress, build = kind
    second = compress(TEXT)
    stream = open_streams(compress(b"one\ntwo\n") + b"X" + second[1:], build)
    assert [stream.readline(), stream.readline()] == [b"one\n", b"two\n"]
    with pytest.raises((OSError, lzma.LZMAError)):
        stream.readline()


@pytest.mark.parametrize("length", [0, 1, -1, -5])
def test_a_truncated_stream_is_an_error(kind, length):
    compress, build = kind
    with pytest.raises(EOFError, match="ended before the end-of-stream marker"):
        open_streams(compress(TEXT)[:length], build).read()


@pytest.mark.usefixtures("chunk")
def test_it_seeks_in_both_directions(kind):
    compress, build = kind
    stream = open_streams(compress(TEXT[:9999]) + compress(TEXT[9999:]), build)
    assert stream.seek(0, io.SEEK_END) == stream.tell() == len(TEXT)
    for place in (20_000, 5, 9990, len(TEXT) - 3):
        assert stream.seek(place) == place
        assert stream.read(30) == TEXT[place : place + 30]
    stream.seek(-4, io.SEEK_END)
    assert stream.read() == TEXT[-4:]
    assert stream.seek(len(TEXT) + 9) == len(TEXT)


def test_closing_closes_the_source(kind):
    source = io.BytesIO(kind[0](TEXT))
    io.BufferedReader(StreamsReader(source, kind[1])).close()
    assert source.closed
