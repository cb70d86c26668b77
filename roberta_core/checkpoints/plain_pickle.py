"""Reading a pickle as plain data: nothing that it names is imported, called or created.

A pickle is a program for a small stack machine. This is that machine without its dangerous half: the names that a
pickle may use are a table given by the caller, whose functions only arrange data; any other name, and any instruction
that torch.save does not write, ends the reading. There is no recursion, and the cost is bounded: the number of
instructions, the elements that all calls together may receive, the size of integers, and the keys that can be chosen
so that their hashes collide.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from roberta_core.checkpoints.errors import shorten

MAX_STEPS = 400_000  # instructions; the training checkpoint of roberta-large has 60,000
MAX_GLOBALS = 20_000  # names of globals, each of which is decoded and looked up
MAX_ELEMENTS = 400_000  # passed to all calls together; a tuple or list may be passed many times
MAX_OTHER_KEYS = 2_500  # keys that are not strings: their hashes can be chosen to collide
MAX_BYTES = 16 << 20  # of one pickle
MAX_INTEGER = 64  # bytes
MAX_NAME = 256  # characters


class PickleError(ValueError):
    """A pickle is broken or needs more than plain data."""


class Global:
    """A name that the pickle may use; `make` is called in place of what it names, None means it must not be called."""

    def __init__(self, name: str, make: Callable[..., Any] | None):
        self.name = name
        self.make = make

    def __call__(self, arguments: Any) -> Any:
        """Arrange the arguments as the table specifies."""
        if self.make is None or not isinstance(arguments, tuple):
            raise PickleError(f"it calls {self.name}")
        return self.make(*arguments)


class Plain:
    """The fields of an object whose class is not imported."""

    __slots__ = ("fields",)

    def __init__(self, *_: Any):
        self.fields: Any = {}


MARK = object()


def read(
    data: memoryview, start: int, names: Mapping[str, Callable[..., Any] | None], persistent: Callable[[Any], Any]
) -> tuple[Any, int]:
    """Return the value of the pickle that begins at `start`, and where it ends.

    Args:
        data: The bytes.
        start: Where the pickle begins.
        names: "module.name" -> the function that replaces a call of it; None if it may be named but not called.
        persistent: Returns the value that the pickle refers to by a persistent id.

    Raises:
        PickleError: It is broken, needs more than plain data, or would cost too much.
    """
    machine = _Machine(data, start, names, persistent)
    try:
        return machine.run(), machine.at
    except PickleError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, struct.error, OverflowError, AttributeError) as error:
        raise PickleError(f"it is broken ({type(error).__name__} at byte {machine.at})") from None


class _Machine:
    def __init__(self, data: memoryview, start: int, names: Mapping[str, Any], persistent: Callable[[Any], Any]):
        self.data = data[: start + MAX_BYTES]
        self.at = start
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.other_keys = 0
        self.elements = 0
        self.globals = 0

    def run(self) -> Any:
        """Execute instructions up to STOP and return the value."""
        for _ in range(MAX_STEPS):
            code = self.data[self.at]
            self.at += 1
            if code == STOP:
                return self.pop()
            step = STEPS.get(code)
            if step is None:
                raise PickleError(f"it has the instruction {bytes([code])!r}, which plain data does not need")
            step(self)
        raise PickleError(f"it has more than {MAX_STEPS:,} instructions")

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise PickleError(f"it is truncated, or larger than {MAX_BYTES:,} bytes")
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def line(self) -> str:
        text, end, _ = bytes(self.data[self.at : self.at + MAX_NAME]).partition(b"\n")
        if not end:
            raise PickleError(f"it has a name of more than {MAX_NAME} characters")
        self.at += len(text) + 1
        return text.decode()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise PickleError("it is broken (a value is missing)")
        return value

    def since_mark(self) -> list[Any]:
        """Remove and return the values after the last mark."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is MARK:
                values = self.stack[at + 1 :]
                del self.stack[at:]
                return values
        raise PickleError("it is broken (a mark is missing)")

    def name(self, module: Any, name: Any) -> None:
        self.globals += 1
        if self.globals > MAX_GLOBALS:
            raise PickleError(f"it names more than {MAX_GLOBALS:,} globals")
        short = type(module) is type(name) is str and len(module) + len(name) <= 2 * MAX_NAME
        name = f"{module}.{name}" if short else ""
        if name not in self.names:
            raise PickleError(f"it names {shorten(name) or 'no global'}, which is not plain data")
        self.push(Global(name, self.names[name]))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global):
            raise PickleError("it calls something that is not a global")
        if isinstance(arguments, tuple):
            self.elements += len(arguments) + sum(len(one) for one in arguments[:8] if isinstance(one, (list, tuple)))
        if self.elements > MAX_ELEMENTS:
            raise PickleError(f"it passes more than {MAX_ELEMENTS:,} elements to calls")
        self.push(function(arguments))

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Plain):
            target.fields = state
        elif type(target) is not dict:  # attributes of an OrderedDict (torch stores versions there) are ignored
            raise PickleError(f"it sets the state of a {type(target).__name__}")

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise PickleError("it appends to something that is not a list")
        target.extend(values)

    def set(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(flat) % 2:
            raise PickleError("it sets items of something that is not a dict")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            self.set_one(target, key, value)

    def set_one(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        # No tuples: hashing a deeply nested one would exhaust the C stack.
        if type(key) not in (str, int, float, bool, bytes, type(None)):
            raise PickleError(f"it has a key of type {type(key).__name__}")
        self.other_keys += type(key) is not str
        if self.other_keys > MAX_OTHER_KEYS:
            raise PickleError(f"it has more than {MAX_OTHER_KEYS:,} keys that are not strings")
        if key in target:
            raise PickleError(f"it has the key {shorten(str(key)[:MAX_NAME])} twice")
        target[key] = value


def build_dict(*arguments: Any) -> dict[Any, Any]:
    """Replace `collections.OrderedDict`: return a dict; the old form passes its items."""
    items = arguments[0] if arguments else []
    if not isinstance(items, (list, tuple)) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in items
    ):
        raise PickleError("it has an OrderedDict whose items are not pairs")
    if not all(type(key) is str for key, _ in items):
        raise PickleError("it has an OrderedDict whose keys are not strings")
    return dict(items)


def _pair(machine: _Machine) -> list[Any]:
    second, first = machine.pop(), machine.pop()
    return [first, second]


def _tuple(count: int) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        machine.push(tuple(machine.pop() for _ in range(count))[::-1])

    return step


def _numbers(form: str) -> Callable[[_Machine], None]:
    size = struct.Struct(form)
    return lambda m: m.push(m.number(size))


def _text(form: str, encoding: str = "utf-8") -> Callable[[_Machine], None]:
    size = struct.Struct(form)
    return lambda m: m.push(m.take(m.number(size)).decode(encoding))


def _bytes(form: str) -> Callable[[_Machine], None]:
    size = struct.Struct(form)
    return lambda m: m.push(m.take(m.number(size)))


def _long(form: str) -> Callable[[_Machine], None]:
    width = struct.Struct(form)

    def step(machine: _Machine) -> None:
        size = machine.number(width)
        if size > MAX_INTEGER:
            raise PickleError(f"it has an integer of {size:,} bytes")
        machine.push(int.from_bytes(machine.take(size), "little", signed=True))

    return step


def _constant(value: Any) -> Callable[[_Machine], None]:
    return lambda m: m.push(value)


def _get(form: str) -> Callable[[_Machine], None]:
    place = struct.Struct(form)
    return lambda m: m.push(m.memo[m.number(place)])


def _put(form: str) -> Callable[[_Machine], None]:
    place = struct.Struct(form)
    return lambda m: m.memo.__setitem__(m.number(place), m.stack[-1])


STOP = ord(".")
STEPS: dict[int, Callable[[_Machine], Any]] = {
    0x80: lambda m: m.take(1),  # PROTO
    0x95: lambda m: m.take(8),  # FRAME
    ord("("): _constant(MARK),
    ord("0"): lambda m: m.stack.pop(),  # POP
    ord("2"): lambda m: m.push(m.stack[-1]),  # DUP
    ord("N"): _constant(None),
    0x88: _constant(True),
    0x89: _constant(False),
    ord("K"): _numbers("<B"),
    ord("M"): _numbers("<H"),
    ord("J"): _numbers("<i"),
    ord("G"): _numbers(">d"),
    0x8A: _long("<B"),
    0x8B: _long("<i"),
    ord("X"): _text("<I"),
    0x8C: _text("<B"),
    0x8D: _text("<Q"),
    ord("U"): _text("<B", "latin-1"),  # strings of Python 2
    ord("T"): _text("<i", "latin-1"),
    ord("C"): _bytes("<B"),
    ord("B"): _bytes("<I"),
    0x8E: _bytes("<Q"),
    ord(")"): lambda m: m.push(()),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    ord("t"): lambda m: m.push(tuple(m.since_mark())),
    ord("]"): lambda m: m.push([]),
    ord("l"): lambda m: m.push(m.since_mark()),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.since_mark()),
    ord("}"): lambda m: m.push({}),
    ord("s"): lambda m: m.set(_pair(m)),
    ord("u"): lambda m: m.set(m.since_mark()),
    ord("h"): _get("<B"),
    ord("j"): _get("<I"),
    ord("q"): _put("<B"),
    ord("r"): _put("<I"),
    0x94: lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),  # MEMOIZE
    ord("c"): lambda m: m.name(m.line(), m.line()),
    0x93: lambda m: m.name(*_pair(m)),  # STACK_GLOBAL
    ord("R"): _Machine.call,
    0x81: _Machine.call,  # NEWOBJ
    ord("b"): _Machine.build,
    ord("Q"): lambda m: m.push(m.persistent(m.pop())),
}
