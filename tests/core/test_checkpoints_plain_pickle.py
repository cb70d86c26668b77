import collections
import contextlib
import os
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roberta_core.checkpoints import plain_pickle
from roberta_core.checkpoints.plain_pickle import PickleError, Plain, build_dict


def refuse_persistent(value):
    raise PickleError("nothing is outside")


# Functions that protocol 2, which has no bytes, uses to store bytes.
BYTES = {"_codecs.encode": lambda text, encoding: text.encode(encoding), "__builtin__.bytes": bytes}


def read(data, names=BYTES, persistent=refuse_persistent):
    value, end = plain_pickle.read(memoryview(data), 0, names, persistent)
    assert end == len(data)
    return value


PLAIN = [
    None,
    True,
    0,
    -1,
    255,
    65_535,
    -(2**31),
    2**80,
    1.5,
    "",
    "Straße",
    b"\0\xff",
    b"x" * 300,
    (),
    (1,),
    (1, (2, "x"), 3, 4),
    [1, [2, []]],
    {"a": {"b": [1.0, None]}, 3: "c", b"d": (True, False)},
    ["x" * 300, {f"key {i}": i for i in range(2000)}],
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_data_are_read(value, protocol):
    found = read(pickle.dumps(value, protocol))
    assert found == value
    assert type(found) is type(value)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    ),
    st.integers(2, 5),
)
def test_any_plain_data_are_read(value, protocol):
    assert read(pickle.dumps(value, protocol)) == value


def test_an_ordered_dict_is_a_dict_and_its_attributes_are_dropped():
    value = collections.OrderedDict(b=1, a=2)
    value._metadata = {"": {"version": 1}}
    names = {"collections.OrderedDict": build_dict}
    assert read(pickle.dumps(value, 2), names) == {"b": 1, "a": 2}
    assert list(read(pickle.dumps(value, 4), names)) == ["b", "a"]


def test_an_object_of_a_known_class_becomes_its_fields():
    import argparse

    found = read(pickle.dumps(argparse.Namespace(layers=12, name="x"), 2), {"argparse.Namespace": Plain})
    assert type(found) is Plain
    assert found.fields == {"layers": 12, "name": "x"}


def test_persistent_values_are_requested():
    assert read(b"\x80\x02(X\1\0\0\0aK\7tQ.", persistent=lambda value: ["got", *value]) == ["got", "a", 7]


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


ran = []


def run(*_):
    ran.append(1)


class Evil:
    def __init__(self):
        self.x = 1

    def __setstate__(self, state):
        run()


def assemble(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


NAMES = {"collections.OrderedDict": build_dict, "argparse.Namespace": Plain, "torch.FloatStorage": None}
HOSTILE = {
    "a call of this module": pickle.dumps(Calls(run), 2),
    "os.system": pickle.dumps(Calls(os.system, "touch /tmp/never"), 2),
    "os.system, protocol 4": pickle.dumps(Calls(os.system, "touch /tmp/never"), 4),
    "eval": pickle.dumps(Calls(eval, "1"), 2),
    "getattr": pickle.dumps(Calls(getattr, "x", "upper"), 2),
    "a class": pickle.dumps(Evil(), 2),
    "a class, protocol 5": pickle.dumps(Evil(), 5),
    "a call inside a list inside a dict": pickle.dumps({"a": [Calls(run)]}, 2),
    "a numpy array": pickle.dumps(np.zeros(3), 2),
    "the old call": b"(S'touch /tmp/never'\nios\nsystem\n.",
    "the old object": b"\x80\x02(cos\nsystem\nX\1\0\0\0xo.",
    "an extension": assemble(b"\x82\x01"),
    "a text identity": b"Pstorage\n.",
    "a call of a class that is only named": assemble(b"ctorch\nFloatStorage\n)R"),
    "a call of a text": assemble(b"X\1\0\0\0x)R"),
    "a call of a called": assemble(b"ccollections\nOrderedDict\n)R)R"),
    "a call without a tuple": assemble(b"ccollections\nOrderedDict\nK\1R"),
    "a call with wrong arguments": assemble(b"ccollections\nOrderedDict\nK\1\x85R"),
    "items that are no pairs": assemble(b"ccollections\nOrderedDict\nX\2\0\0\0ab\x85R"),
    "an item with a list for its key": assemble(b"ccollections\nOrderedDict\n]]K\1\x86a\x85R"),
    "the state of a list": assemble(b"]}b"),
    "the state of a name": assemble(b"ctorch\nFloatStorage\n}b"),
    "an item of a list": assemble(b"]K\1K\2s"),
    "an item of a name's fields": assemble(b"cargparse\nNamespace\n)\x81K\1K\2s"),
    "an odd number of items": assemble(b"}(K\1u"),
    "an append to a dict": assemble(b"}K\1a"),
    "a list for a key": assemble(b"}]K\1s"),
    "a tuple for a key": assemble(b"})K\1s"),
    "a key twice": assemble(b"}(X\1\0\0\0aK\1X\1\0\0\0aK\2u"),
    "a name without a line end": assemble(b"c" + b"x" * 1000),
    "a name that is no text": assemble(b"]K\1\x93"),
    "an unknown memory": assemble(b"h\x07"),
    "an empty stack": b"\x80\x02.",
    "a mark for a value": b"\x80\x02(.",
    "no mark": assemble(b"K\1t"),
    "nothing": b"",
    "no end": b"\x80\x02K\1",
    "a long text": assemble(b"X\xff\xff\xff\xffx"),
    "a longer text": assemble(b"\x8d" + b"\xff" * 8),
    "a longer negative text": assemble(b"T\xff\xff\xff\xff"),
    "a long number": assemble(b"\x8b\xff\xff\xff\x7f"),
    "no UTF-8": assemble(b"X\2\0\0\0\xff\xfe"),
    "a large memory": assemble(b"K\1r\xff\xff\xff\xff", b"j\xfe\xff\xff\xff"),
    "an unknown instruction": assemble(b"\xf0"),
    "keys with one hash": assemble(
        b"}(", *(b"\x8a\x0b" + (i * (2**61 - 1)).to_bytes(11, "little") + b"N" for i in range(30_000)), b"u"
    ),
    "endless instructions": b"\x80\x02" + b"N0" * 400_000 + b".",
    "an OrderedDict over a long list, again and again": assemble(
        b"ccollections\nOrderedDict\nq\0000]q\1(",
        *(b"X\x06\0\0\0%06dN\x86" % number for number in range(100_000)),
        b"e0",
        b"h\0h\1\x85R0" * 1000,
        b"N",
    ),
    "an object over a long tuple, again and again": assemble(
        b"cargparse\nNamespace\nq\0(", b"N" * 100_000, b"tq\x010", b"h\0h\1\x81" * 30_000
    ),
    "many names": assemble(b"ctorch\nFloatStorage\n0" * 20_001, b"N"),
    "a wide integer": assemble(b"\x8b" + (2_000_000).to_bytes(4, "little") + b"\x01" * 2_000_000),
    "a wide integer as the key of many dicts": assemble(
        b"\x8b" + (2_000_000).to_bytes(4, "little") + b"\x01" * 2_000_000 + b"q\0" + b"}h\0Ns" * 4_999
    ),
    "a long name, again and again": assemble(
        b"X" + (1_000_000).to_bytes(4, "little") + b"x" * 1_000_000 + b"q\0h\0\x93" * 1000
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_pickle_with_calls_is_refused_and_not_executed(case):
    start = time.perf_counter()
    with pytest.raises(PickleError) as caught:
        plain_pickle.read(memoryview(HOSTILE[case]), 0, NAMES, refuse_persistent)
    assert ran == []
    assert not os.path.exists("/tmp/never")
    assert len(str(caught.value)) < 300
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("a call of this module", "it names .*run, which is not plain data"),
        ("os.system", r"it names .*\.system, which is not plain data"),
        ("the old call", "it has the instruction"),
        ("a call of a class that is only named", r"it calls torch\.FloatStorage"),
        ("a long text", "it is truncated"),
        ("keys with one hash", "keys that are not strings"),
        ("endless instructions", "more than 400,000 instructions"),
        ("an OrderedDict over a long list, again and again", "more than 400,000 elements to calls"),
        ("an object over a long tuple, again and again", "more than 400,000 elements to calls"),
        ("many names", "it names more than 20,000 globals"),
        ("a wide integer", "an integer of 2,000,000 bytes"),
        ("a long name, again and again", "it names no global"),
    ],
)
def test_the_reason_is_reported(case, reason):
    with pytest.raises(PickleError, match=reason):
        plain_pickle.read(memoryview(HOSTILE[case]), 0, NAMES, refuse_persistent)


def test_a_deep_pickle_is_read_without_recursion():
    value = read(assemble(b")" + b"\x85" * 390_000))
    for _ in range(390_000):
        (value,) = value
    assert value == ()


def test_a_small_pickle_that_grows_exponentially_stays_small():
    value = read(assemble(b")", b"2\x86" * 60))  # nested pairs of the same pair, sixty levels
    assert type(value) is tuple


@settings(max_examples=400, deadline=2000)
@given(st.data())
def test_a_mutated_pickle_is_read_or_refused(data):
    value = collections.OrderedDict(a=[1, 2.5, "x", None], b=({"c": b"d"}, 2**70))
    content = bytearray(pickle.dumps(value, data.draw(st.sampled_from([2, 4]))))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        content = content or bytearray(1)
    with contextlib.suppress(PickleError):
        plain_pickle.read(memoryview(bytes(content)), 0, NAMES, refuse_persistent)
    assert ran == []
