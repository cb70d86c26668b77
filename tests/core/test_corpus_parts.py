"""A corpus of many files: parts, rows, duplicates, several corpora, object stores and damage."""

import bz2
import errno
import gzip
import json
import lzma
import os
import socket
import sys
import types
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pytest

from roberta_core import checkpoints, worker_program
from roberta_core.data import corpus, corpus_parts, texts
from roberta_core.data.corpus_parts import ARRAYS, PartBuilder
from roberta_core.data.records import DataError, Skipped
from roberta_core.data.sources import RemoteFile, compute_version, exists, find_compression, find_suffix, locate

SEPARATOR = 2
TEXTS = ["It was late. Who is there?\n\nNobody answered.\n", "The door was open. She walked in.", "A green door.\n"]


@pytest.fixture(scope="module")
def tokenizer():
    return checkpoints.resolve("roberta-tiny")


@pytest.fixture
def files(tmp_path):
    """Twelve files, the last three of which repeat the first three."""
    (tmp_path / "texts").mkdir()
    for number in range(12):
        (tmp_path / "texts" / f"{number:02}.txt").write_text(f"{number % 9} {TEXTS[number % 3]}")
    return sorted((tmp_path / "texts").iterdir())


@pytest.fixture
def build(tokenizer, tmp_path, monkeypatch):
    """Return `build(name, files, **settings)`, which makes a corpus of parts of two files or so."""
    monkeypatch.setattr(corpus_parts, "PART", 60)
    return lambda name, files, **settings: corpus.build(tmp_path / name, files, tokenizer, SEPARATOR, **settings)


def assert_equal(found, expected):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    assert len(expected.tokens)


def test_parts_joined_are_the_corpus_of_one_part(build, files, monkeypatch, tmp_path):
    parts = build("parts", files)
    monkeypatch.setattr(corpus_parts, "PART", 1 << 20)
    assert_equal(parts, build("whole", files))
    assert not (tmp_path / "parts" / "parts").exists()


def test_several_processes_make_what_one_makes(build, files):
    done = []
    found = build("two", files, processes=2, progress=lambda *numbers: done.append(numbers))
    assert_equal(found, build("one", files))
    size = sum(file.stat().st_size for file in files)
    assert done[0] == (0, size)
    assert done[-1] == (size, size)
    assert len(done) > 3


def test_an_error_of_a_process_names_the_file(build, files):
    files[7].write_bytes(b"\xff\n")
    for processes in (1, 2):
        with pytest.raises(DataError, match=r"07\.txt, line 1: not UTF-8"):
            build("strict", files, processes=processes, skipped=Skipped(strict=True))


def test_a_stopped_run_continues_with_the_parts_that_are_missing(build, files, monkeypatch):
    built, original = [], PartBuilder.build

    def stop(self, part, *arguments):
        if len(built) == 2:
            raise KeyboardInterrupt
        built.append(part.folder)
        return original(self, part, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PartBuilder, "build", stop)
        with pytest.raises(KeyboardInterrupt):
            build("stopped", files)
    again = []
    monkeypatch.setattr(
        PartBuilder, "build", lambda self, part, *a: again.append(part.folder) or original(self, part, *a)
    )
    found = build("stopped", files)
    assert not set(again) & set(built)
    assert len(again) >= 2
    assert_equal(found, build("other", files))


def test_a_part_that_was_cut_off_is_made_again(build, files, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(corpus, "_join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build("stopped", files)
    tokens = next((tmp_path / "stopped" / "parts").glob("*/tokens.npy"))
    tokens.write_bytes(tokens.read_bytes()[:-2])
    assert_equal(build("stopped", files), build("other", files))


@pytest.mark.parametrize("name", ARRAYS)
def test_a_damaged_array_is_made_again(build, files, tmp_path, name):
    expected = build("other", files)
    build("damaged", files)
    path = tmp_path / "damaged" / f"{name}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert_equal(build("damaged", files), expected)


def test_a_second_process_at_the_same_time_is_refused(build, files, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "held").mkdir()
    with open(tmp_path / "held" / corpus.LOCK, "a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another command prepares the corpus"):
            build("held", files)
    build("held", files)


def test_the_manifest_states_files_counts_and_checksums(build, files, tmp_path):
    found = build("out", {"a": files[:2], "b": files[2:5]})
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert found.manifest == manifest
    assert {name: facts["documents"] for name, facts in manifest["corpora"].items()} == {"a": 2, "b": 3}
    assert sum(facts["tokens"] for facts in manifest["corpora"].values()) == len(found.tokens)
    listed = [file for facts in manifest["corpora"].values() for file in facts["files"]]
    assert [file["file"] for file in listed] == list(map(str, files[:5]))
    assert all(file["version"].startswith("sha256:") and file["documents"] == 1 for file in listed)
    assert sum(file["tokens"] for file in listed) == len(found.tokens)
    assert set(manifest["sha256"]) == set(ARRAYS)


def test_duplicates_are_left_out_whatever_their_whitespace(build, files):
    files[10].write_text(files[10].read_text().replace(" ", "  ") + "\n\n")
    found = build("unique", files, deduplicate=True)
    assert_equal(found, build("first", files[:9]))
    assert found.manifest["corpora"][""]["duplicates"] == 3
    assert found.manifest["corpora"][""]["documents"] == 9
    everything = build("everything", files)
    assert everything.manifest["corpora"][""]["duplicates"] == 0
    assert len(everything.documents) == 13


def test_parts_with_the_same_content_are_told_apart(build, files, monkeypatch):
    monkeypatch.setattr(corpus_parts, "PART", 1)  # each file is a part
    found = build("parts", files)
    assert len(found.documents) == 13
    assert [file["file"] for file in found.manifest["corpora"][""]["files"]] == list(map(str, files))
    assert_equal(build("unique", files, deduplicate=True), build("first", files[:9]))


def test_duplicates_between_corpora_stay_in_the_first(build, files):
    found = build("unique", {"a": files[:4], "b": files[2:5]}, deduplicate=True)
    assert {name: facts["documents"] for name, facts in found.manifest["corpora"].items()} == {"a": 4, "b": 1}
    names = dict(found.list_corpora())
    assert len(names["a"]) == 5
    assert len(names["b"]) == 2
    assert names["a"][-1] == names["b"][0]


def write_rows(path, rows):
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix, open)
    with opener(path, "wb") as stream:
        stream.write(content)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson.bz2", "a.jsonl.xz"])
def test_each_row_is_a_document(build, files, tmp_path, name):
    write_rows(tmp_path / name, [{"text": file.read_text(), "url": "x"} for file in files])
    assert_equal(build("rows", [tmp_path / name]), build("files", files))


def test_rows_of_parquet_are_documents(build, files, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow").table({"text": [file.read_text() for file in files]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert_equal(build("rows", [tmp_path / "a.parquet"]), build("files", files))


def test_a_damaged_parquet_file_and_a_missing_column_are_named(build, files, tmp_path):
    parquet, pyarrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"body": [TEXTS[0]]}), path)
    with pytest.raises(DataError, match=r"a\.parquet: it has no column text; its columns are body"):
        build("rows", [path])
    parquet.write_table(pyarrow.table({"text": [f"{number} {TEXTS[0]}" for number in range(999)]}), path)
    content = bytearray(path.read_bytes())
    content[100:400] = bytes(300)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet.*not a Parquet file that can be read"):
        build("rows", [path])
    path.with_suffix(".parquet.gz").write_bytes(gzip.compress(path.read_bytes()[:50]))
    path.with_suffix(".parquet.xz").write_bytes(lzma.compress(path.read_bytes())[:40] + bytes(400))
    for suffix in ("gz", "xz"):
        with pytest.raises(DataError, match=rf"a\.parquet\.{suffix}.*not a Parquet file that can be read"):
            build("rows", [path.with_suffix(f".parquet.{suffix}")])


def test_content_under_another_suffix_is_read_again(build, files, tmp_path):
    packed = gzip.compress(json.dumps({"text": TEXTS[0]}).encode())
    (tmp_path / "a.jsonl").write_bytes(packed)
    with pytest.raises(ValueError, match="hold no text"):
        build("rows", [tmp_path / "a.jsonl"])
    (tmp_path / "a.jsonl").rename(tmp_path / "a.jsonl.gz")
    assert len(build("rows", [tmp_path / "a.jsonl.gz"]).documents) == 2


@pytest.fixture
def no_zstd(monkeypatch):
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("module", ["compression.zstd", "backports.zstd"])
def test_a_zst_file_is_read_with_a_module_for_zstd(build, files, tmp_path, monkeypatch, no_zstd, module):
    monkeypatch.setitem(sys.modules, module.partition(".")[0], types.ModuleType("package"))
    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(ZstdDecompressor=lzma.LZMADecompressor))
    write_rows(tmp_path / "a.jsonl.xz", [{"text": file.read_text()} for file in files])
    (tmp_path / "a.jsonl.xz").rename(tmp_path / "a.jsonl.zst")
    assert_equal(build("rows", [tmp_path / "a.jsonl.zst"]), build("files", files))


def test_a_zst_file_is_read_with_pyarrow(build, files, tmp_path, no_zstd):
    pyarrow = pytest.importorskip("pyarrow")
    rows = [json.dumps({"text": file.read_text()}).encode() + b"\n" for file in files]
    frames = [pyarrow.Codec("zstd").compress(b"".join(part), asbytes=True) for part in (rows[:5], rows[5:])]
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(b"".join(frames))
    assert_equal(build("rows", [path]), build("files", files))
    path.write_bytes(b"".join(frames)[:-9])
    with pytest.raises(DataError, match=r"a\.jsonl\.zst: cannot be read after line \d+: Truncated"):
        build("rows", [path])
    path.write_bytes(frames[0] + b"damaged")
    with pytest.raises(DataError, match=r"a\.jsonl\.zst: cannot be read after line \d+: ZSTD decompress failed"):
        build("rows", [path])


def test_without_a_package_for_zstd_packages_are_named(build, tmp_path, monkeypatch, no_zstd):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.jsonl.zst").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.jsonl\.zst: \.zst files need backports\.zstd or pyarrow: pip install"):
        build("rows", [tmp_path / "a.jsonl.zst"])


def test_a_compressed_text_is_read_as_the_text(build, files, tmp_path):
    with gzip.open(tmp_path / "a.txt.gz", "wb") as stream:
        stream.write(files[0].read_bytes())
    assert_equal(build("packed", [tmp_path / "a.txt.gz"]), build("plain", files[:1]))


def test_rows_without_a_text_are_reported(build, files, tmp_path):
    rows = [{"text": TEXTS[0]}, {"txt": "a"}, {"text": 3}, {"text": " \n"}, {"text": TEXTS[1]}]
    write_rows(tmp_path / "a.jsonl", rows)
    skipped = Skipped()
    found = build("rows", [tmp_path / "a.jsonl"], skipped=skipped)
    assert len(found.documents) == 3
    assert skipped.count == 3
    reasons = "; ".join(skipped.reasons)
    for expected in (
        "line 2: it has no field `text`, only `txt`",
        "line 3: its field `text` is of type int, not a text",
        "line 4: holds no text",
    ):
        assert expected in reasons
    again = Skipped()
    build("rows", [tmp_path / "a.jsonl"], skipped=again)
    assert again == skipped


def test_a_book_in_one_row_is_read(build, tmp_path):
    write_rows(tmp_path / "a.jsonl", [{"text": "It was late. " * 50_000}])
    skipped = Skipped()
    assert len(build("rows", [tmp_path / "a.jsonl"], skipped=skipped).sentences) > 49_000
    assert not skipped.count


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_a_truncated_file_is_refused_with_its_place(build, tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    write_rows(path, [{"text": f"{number * 7919 % 10007} {TEXTS[0]}"} for number in range(3000)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=rf"a\.jsonl{suffix}: cannot be read after line \d+"):
        build("rows", [path])


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_a_damaged_second_stream_loses_no_text_silently(build, tmp_path, suffix, compress):
    path = tmp_path / f"a.jsonl{suffix}"
    first, second = (compress(json.dumps({"text": text}).encode() + b"\n") for text in TEXTS[:2])
    path.write_bytes(first + second)
    assert len(build("whole", [path]).documents) == 3
    path.write_bytes(first + b"X" + second[1:])
    with pytest.raises(DataError, match=rf"a\.jsonl{suffix}: cannot be read after line [01]: "):
        build("damaged", [path])


@pytest.fixture
def remote():
    """A folder of an object store in memory."""
    system = fsspec.filesystem("memory")
    system.pipe("/store/a.txt", TEXTS[0].encode())
    system.pipe("/store/b.jsonl.gz", gzip.compress(json.dumps({"text": TEXTS[1]}).encode()))
    yield system
    system.rm("/store", recursive=True)


def test_texts_of_an_object_store_are_read(build, remote, tmp_path):
    found = texts.find(["memory://store/*"])
    assert list(map(str, found)) == ["memory://store/a.txt", "memory://store/b.jsonl.gz"]
    (tmp_path / "a.txt").write_text(TEXTS[0])
    (tmp_path / "b.txt").write_text(TEXTS[1])
    assert_equal(build("remote", found), build("here", [tmp_path / "a.txt", tmp_path / "b.txt"]))


def test_a_file_has_one_url_however_it_is_written(remote, tmp_path):
    (tmp_path / "list").write_text("memory:///store/a.txt\nmemory://store/a.txt\n")
    assert texts.find([f"@{tmp_path / 'list'}", "memory://store/*.txt"]) == [RemoteFile("memory://store/a.txt")]
    assert locate("s3a://bucket/a.txt") == locate("s3://bucket/a.txt")
    assert locate("gcs://bucket/a.txt") == locate("GS://bucket/a.txt")
    assert locate(f"file://{tmp_path}/list") == tmp_path / "list"


def test_a_url_with_a_query_has_the_suffix_of_its_path():
    file = locate("https://host/a/b.jsonl.gz?download=1")
    assert (file.name, find_suffix(file), find_compression(file)) == ("b.jsonl.gz", ".jsonl", ".gz")
    assert find_suffix(locate("s3://bucket/b.jsonl?versionId=1.2")) == ".jsonl"


def test_a_changed_object_is_read_again(build, remote):
    files = texts.find(["memory://store/a.txt"])
    before = build("remote", files).tokens.copy()
    remote.pipe("/store/a.txt", TEXTS[2].encode())
    assert len(build("remote", files).tokens) < len(before)


class Lines(fsspec.spec.AbstractBufferedFile):
    """A file as those of object stores are read, in ranges of bytes."""

    def _fetch_range(self, start, end):
        if self.fs.broken:
            raise RuntimeError("the connection was lost")
        return self.fs.content[self.path][start:end]


class Store(fsspec.AbstractFileSystem):
    protocol, cachable = "stub", False
    content: ClassVar[dict[str, bytes]] = {}
    facts: ClassVar[dict[str, str]] = {}
    broken = False

    def info(self, path, **options):
        if path == "refused":
            raise PermissionError("not allowed")
        if path not in self.content:
            raise FileNotFoundError(path)
        return {"name": path, "size": len(self.content[path]), "type": "file", **self.facts}

    def _open(self, path, mode="rb", **options):
        return Lines(self, path, mode, cache_type="none", size=len(self.content[path]))


@pytest.fixture
def store(monkeypatch):
    fsspec.register_implementation("stub", Store, clobber=True)
    monkeypatch.setattr(Store, "content", {"a.txt": TEXTS[0].encode(), "b.jsonl": b"", "c.jsonl.xz": b""})
    Store.content["b.jsonl"] = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in TEXTS)
    Store.content["c.jsonl.xz"] = lzma.compress(Store.content["b.jsonl"])
    return Store


def test_a_file_that_is_read_in_ranges_gives_its_lines(build, store, tmp_path):
    found = build("remote", texts.find(["stub://a.txt", "stub://b.jsonl", "stub://c.jsonl.xz"]))
    paths = [tmp_path / name for name in store.content]
    for path in paths:
        path.write_bytes(store.content[path.name])
    assert_equal(found, build("here", paths))
    assert len(found.documents) == 8


def test_a_lost_connection_is_reported_with_its_place(build, store, monkeypatch):
    files = texts.find(["stub://b.jsonl"])
    monkeypatch.setattr(store, "facts", {"ETag": "1"})
    monkeypatch.setattr(store, "broken", True)
    with pytest.raises(DataError, match=r"stub://b\.jsonl: cannot be read after line 0: the connection was lost"):
        build("remote", files)


def test_an_error_of_the_store_is_no_missing_file(store):
    with pytest.raises(ValueError, match="stub://refused cannot be read: PermissionError: not allowed"):
        texts.find(["stub://refused"])
    with pytest.raises(ValueError, match=r"globs are found on gs://, memory://, s3:// only"):
        texts.find(["stub://*.txt"])


def test_files_of_which_a_store_states_the_same_are_told_apart(build, store, monkeypatch):
    monkeypatch.setattr(corpus_parts, "PART", 1)
    monkeypatch.setattr(store, "facts", {"LastModified": "today"})
    store.content["z.txt"] = TEXTS[0].upper().encode()  # of the same size
    found = build("both", texts.find(["stub://a.txt", "stub://z.txt"]))
    halves = np.split(found.tokens, [found.sentences[found.documents[1]]])
    assert halves[0].tolist() != halves[1].tolist()
    assert build("one", texts.find(["stub://a.txt"])).tokens.tolist() == halves[0].tolist()
    assert build("one", texts.find(["stub://z.txt"])).tokens.tolist() == halves[1].tolist()


def test_the_version_is_what_the_store_states_about_the_content(store, monkeypatch):
    file = locate("stub://a.txt")
    plain = compute_version(file)
    store.content["a.txt"] = TEXTS[0].upper().encode()  # of the same size
    assert plain.startswith("sha256:")
    assert compute_version(file) != plain
    versions = set()
    for facts in ({"ETag": "1"}, {"ETag": "1", "url": "signed"}, {"ETag": "2"}, {"LastModified": "today"}):
        monkeypatch.setattr(store, "facts", facts)
        versions.add(compute_version(file))
    assert len(versions) == 3


def test_missing_remote_files_and_packages_are_named(remote, tmp_path, monkeypatch, build):
    (tmp_path / "list").write_text("memory://store/gone.txt\n")
    with pytest.raises(ValueError, match=r"memory://store/gone\.txt"):
        texts.find(["memory://store/gone.txt"])
    with pytest.raises(ValueError, match=r"memory://store/gone\.txt: there is no such file"):
        build("gone", texts.find([f"@{tmp_path / 'list'}"]))
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ValueError, match=r"files of s3:// need s3fs: pip install s3fs"):
        texts.find(["s3://bucket/*.txt"])
    with pytest.raises(ValueError, match="Protocol not known: nosuch"):
        texts.find(["nosuch://bucket/a.txt"])


def test_corpora_are_named_before_their_pattern(files, tmp_path, monkeypatch):
    (tmp_path / "odd=name.txt").write_text("x")
    patterns = [f"b={files[0]}", f"a={files[1]}", f"b={files[2]}", str(files[3]), str(tmp_path / "odd=name.txt")]
    found = texts.find_corpora(patterns)
    assert list(found) == ["", "a", "b"]
    assert [file.name for file in found["b"]] == ["00.txt", "02.txt"]
    assert [file.name for file in found[""]] == ["odd=name.txt", "03.txt"]
    (tmp_path / "date=2024").mkdir()
    (tmp_path / "date=2024" / "x.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert [file.name for file in texts.find_corpora(["date=2024/*.txt"])[""]] == ["x.txt"]
    with pytest.raises(ValueError, match=r"no file is called 2025/\*.txt \(in date=2025/\*.txt; date is taken as"):
        texts.find_corpora(["date=2025/*.txt"])
    with pytest.raises(ValueError, match=r"00\.txt is in two corpora, a and b"):
        texts.find_corpora([f"a={files[0]}", f"b={files[0]}"])


def test_a_remote_file_has_a_name_and_an_order():
    files = [RemoteFile("s3://b/z.txt"), RemoteFile("s3://b/a.txt")]
    assert [file.name for file in texts.sort(files)] == ["a.txt", "z.txt"]


NEEDS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device of a full disk is Linux's")


@NEEDS_FULL
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("place", ["*/sentences.npy", "documents.npy"])
def test_a_full_disk_names_its_file_and_keeps_the_finished_parts(build, files, tmp_path, monkeypatch, processes, place):
    expected = build("other", files)
    with monkeypatch.context() as patch:
        patch.setattr(corpus, "_join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build("full", files)
    parts = tmp_path / "full" / "parts"
    path = max(parts.glob(place)) if "*" in place else parts / place
    for lost in (path, path.parent / "part.json"):
        lost.unlink(missing_ok=True)
    path.symlink_to("/dev/full")  # a few bytes are buffered until the array is closed
    with pytest.raises(OSError, match="No space left") as caught:
        build("full", files, processes=processes)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, os.fspath(path))
    path.unlink()
    built, original = [], PartBuilder.build
    monkeypatch.setattr(
        PartBuilder, "build", lambda self, part, *a: built.append(part.folder) or original(self, part, *a)
    )
    assert_equal(build("full", files), expected)
    assert built == ([path.parent] if "*" in place else [])


@NEEDS_FULL
def test_the_first_error_of_an_array_is_raised_and_not_that_of_closing_it():
    array = corpus_parts.Growing(Path("/dev/full"), np.dtype(np.int64))

    def fill():
        with array:
            array.add(np.zeros(3))
            raise KeyError

    with pytest.raises(KeyError):
        fill()
    assert array.stream.closed


NO_CACHE = {"cache_type": "none"}


class Exhausted(Lines):
    def _fetch_range(self, start, end):
        raise MemoryError


@pytest.mark.parametrize("name", ["a.txt", "b.jsonl", "c.jsonl.xz", "d.parquet", "e.txt"])
def test_exhausted_memory_is_no_damaged_file(build, store, monkeypatch, name):
    if name == "d.parquet":
        pytest.importorskip("pyarrow")
    store.content[name] = store.content.get(name) or TEXTS[0].encode()
    files = texts.find([f"stub://{name}"])
    monkeypatch.setattr(store, "facts", {"ETag": "1"})
    if name == "e.txt":  # while it is tokenised
        monkeypatch.setattr(PartBuilder, "_encode", lambda *_: (_ for _ in ()).throw(MemoryError))
    else:
        monkeypatch.setattr(store, "_open", lambda fs, path, mode, **_: Exhausted(fs, path, mode, size=99, **NO_CACHE))
    with pytest.raises(MemoryError, match=rf"stub://{name}: not enough memory to"):
        build("remote", files)


def test_exhausted_memory_in_a_process_is_reported_as_such():
    error, _ = worker_program._try(lambda: np.empty(1 << 60, np.uint8))
    assert type(error) is MemoryError
    assert "not enough memory in a worker process: Unable to allocate" in str(error)
    error, _ = worker_program._try(lambda: (_ for _ in ()).throw(MemoryError("a.txt: not enough memory to read it")))
    assert str(error) == "a.txt: not enough memory to read it"


class AnswerError(Exception):
    """An answer of a web server, as aiohttp raises it."""

    def __init__(self, status):
        super().__init__(f"{status}, message='', url='stub://a.txt'")
        self.status = status


LostError = type("LostError", (Exception,), {"__module__": "aiohttp.client_exceptions"})


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (AnswerError(404), "stub://a.txt: there is no such file"),
        (AnswerError(410), "stub://a.txt: there is no such file"),
        (KeyError("a.txt"), "stub://a.txt: there is no such file"),
        (NotADirectoryError("a.txt"), "stub://a.txt: there is no such file"),
        (AnswerError(403), "stub://a.txt cannot be read: the server answered 403 Forbidden"),
        (AnswerError(500), "stub://a.txt cannot be read: the server answered 500 Internal Server Error"),
        (AnswerError(599), "stub://a.txt cannot be read: the server answered 599"),
        (LostError("disconnected"), "stub://a.txt cannot be read: LostError: disconnected"),
        (ConnectionRefusedError(111, "refused"), "ConnectionRefusedError: [Errno 111] refused"),
        (TimeoutError(), "stub://a.txt cannot be read: TimeoutError"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("explicit", [True, False])
def test_a_failure_that_a_web_file_system_calls_a_missing_file_is_named(store, monkeypatch, cause, expected, explicit):
    def fail(*_, **__):
        try:
            raise cause
        except Exception as error:
            if explicit:
                raise FileNotFoundError("a.txt") from error
            raise FileNotFoundError("a.txt")  # noqa: B904

    monkeypatch.setattr(store, "info", fail)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        compute_version(locate("stub://a.txt"))
    assert expected in str(caught.value)
    if "no such file" in expected:
        assert not exists(locate("stub://a.txt"))
    else:
        for function in (exists, lambda file: texts.find([str(file)])):
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                function(locate("stub://a.txt"))
            assert expected in str(caught.value)


def test_a_server_that_cannot_be_reached_is_named_with_the_reason():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # it does not listen
        address = f"ftp://127.0.0.1:{closed.getsockname()[1]}/a.txt"
        with pytest.raises(ValueError, match=f"{address} cannot be reached: ConnectionRefusedError: .*refused"):
            texts.find([address])


def test_a_folder_with_an_equals_sign_is_refused_as_a_folder(tmp_path, monkeypatch):
    (tmp_path / "date=2024").mkdir()
    monkeypatch.chdir(tmp_path)
    for pattern in ("date=2024", "date=2024/"):
        with pytest.raises(ValueError, match=r"^date=2024/? is a folder: name the files in it, such as 'date=2024/\*"):
            texts.find_corpora([pattern])


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([3], [0, 1]),
        ([1 << 12] * 200, [0, 64, 128, 192, 200]),  # of at least 256 KiB
        ([1 << 20] * 400, [*range(0, 400, 7), 400]),
        ([1 << 26] * 500, [*range(501)]),  # above 4 GiB a part has 64 MiB
        ([1 << 26] * 3 + [9], [0, 1, 2, 3, 4]),
        ([0] * 3, [0, 1, 2, 3]),
        ([0] * 256, [*range(0, 257, 4)]),
        ([0] * 300, [*range(0, 300, 5), 300]),
        ([9, 0, 9, 0, 9], [0, 2, 4, 5]),
        ([], [0]),
    ],
)
def test_small_files_and_files_of_unknown_size_are_divided(sizes, expected):
    assert corpus_parts._divide(sizes) == expected


@pytest.mark.parametrize("processes", [2, 5, 16, 30])
@pytest.mark.parametrize("size", [0, 5_000, 70_000, 1_000_000])
def test_each_process_has_about_two_parts_or_more(processes, size):
    sizes = [size + (number % 7) * (size > 0) for number in range(1000)]
    assert len(corpus_parts._divide(sizes)) - 1 >= min(2 * processes, sum(sizes) // corpus_parts.SMALLEST or 1000) * 0.9


def test_a_stopped_run_continues_with_another_number_of_processes(build, files, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(corpus, "_join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build("stopped", files, processes=2)
    monkeypatch.setattr(PartBuilder, "build", lambda *_: pytest.fail("tokenised again"))
    build("stopped", files, processes=3)


def test_the_number_of_parts_does_not_change_the_corpus(build, files, monkeypatch):
    expected = build("parts", files)
    monkeypatch.setattr(corpus_parts, "SMALLEST", 1)
    monkeypatch.setattr(corpus_parts, "SHARES", 12)
    for part in (1, 100, 1 << 26):
        monkeypatch.setattr(corpus_parts, "PART", part)
        assert_equal(build(f"other{part}", files), expected)


def test_a_store_is_asked_once_about_each_file(build, store, monkeypatch):
    asked, original = [], Store.info
    files = texts.find(["stub://a.txt", "stub://b.jsonl"])
    monkeypatch.setattr(store, "facts", {"ETag": "1"})
    monkeypatch.setattr(store, "info", lambda self, path, **_: asked.append(path) or original(self, path))
    corpus_parts.plan_parts(Path("parts"), files, corpus_parts.PartSettings(checkpoints.resolve("roberta-tiny"), 2))
    assert asked == ["a.txt", "b.jsonl"]


def test_files_with_an_equals_sign_are_searched_once(files, tmp_path, monkeypatch):
    (tmp_path / "date=2024").mkdir()
    (tmp_path / "date=2024" / "x.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    searched, original = [], texts.find_files
    monkeypatch.setattr(texts, "find_files", lambda pattern: searched.append(pattern) or original(pattern))
    texts.find_corpora(["date=2024/*.txt"])
    assert searched == ["date=2024/*.txt"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_that_changes_while_it_is_tokenised_is_not_kept(build, files, monkeypatch, processes):
    expected, planned = build("other", [*files[:5], *files[6:]]), corpus.plan_parts

    def change(*arguments):
        parts = planned(*arguments)
        with open(files[5], "a") as stream:
            stream.write("More.")
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(corpus, "plan_parts", change)
        with pytest.raises(ValueError, match=r"05\.txt was changed while it was tokenised: run the command again"):
            build("changed", files, processes=processes)
    found = build("changed", files)
    assert len(found.tokens) > len(expected.tokens)
    assert found.manifest["corpora"][""]["files"][5]["version"] == compute_version(files[5])


def test_a_file_with_two_names_is_read_once(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.txt").symlink_to(files[0])
    names = ["texts/00.txt", str(files[0]), "link.txt", "texts/../texts/00.txt"]
    assert len(texts.find(names)) == 1
    assert [len(own) for own in texts.find_corpora([*names, "a=texts/01.txt", f"a={files[1]}"]).values()] == [1, 1]


def test_a_name_with_the_characters_of_a_glob_is_a_name(tmp_path):
    for name in ("a[1].txt", "a1.txt"):
        (tmp_path / name).write_text(name)
    assert texts.find([str(tmp_path / "a[1].txt")]) == [tmp_path / "a[1].txt"]
    (tmp_path / "a[1].txt").unlink()
    assert texts.find([str(tmp_path / "a[1].txt")]) == [tmp_path / "a1.txt"]


def test_a_corpus_of_an_earlier_way_of_reading_is_made_again(build, files, monkeypatch):
    build("out", files)
    monkeypatch.setattr(corpus_parts, "READING", corpus_parts.READING + 1)
    built, original = [], PartBuilder.build
    monkeypatch.setattr(PartBuilder, "build", lambda self, part, *a: built.append(part) or original(self, part, *a))
    build("out", files)
    assert built
