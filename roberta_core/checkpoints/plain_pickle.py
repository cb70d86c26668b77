"""Reading a pickle as plain data: nothing that it names is imported, called or built.

A pickle is a program for a small stack machine. This is that machine with the dangerous half left out: the names it
may use are a table given by the caller, whose functions only arrange data; any other name, and any instruction that
torch.save does not write, ends the reading. There is no recursion, and all counts are bounded.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from roberta_core.checkpoints.errors import clipped

MOST_STEPS = 1_000_000  # instructions; roberta-large's training checkpoint takes 60,000
MOST_NUMBERED = 5_000  # keys that are no text: their hashes can be chosen to collide, those of texts cannot
LARGEST = 64 << 20  # bytes of one pickle


class PickleError(ValueError):
    """A pickle that is broken or wants more than plain data."""


class Global:
    """A name that the pickle may use: called, it gives what `make` gives; with None it only stands for itself."""

    def __init__(self, name: str, make: Callable[..., Any] | None):
        self.name = name
        self.make = make

    def __call__(self, arguments: Any) -> Any:
        """Arrange the arguments as the table says."""
        if self.make is None or not isinstance(arguments, tuple):
            raise PickleError(f"it calls {self.name}")
        return self.make(*arguments)


class Plain:
    """What is left of an object of a class that is not imported: its fields."""

    def __init__(self, *arguments: Any):
        self.arguments = arguments
        self.fields: Any = {}


MARK = object()


def read(
    data: memoryview, start: int, names: Mapping[str, Callable[..., Any] | None], persistent: Callable[[Any], Any]
) -> tuple[Any, int]:
    """The value of the pickle that begins at `start`, and where it ends.

    `names` maps "module.name" to what a call of it gives (None: it may be named but not called); `persistent` gives
    the values that the pickle keeps outside. `PickleError` for anything else.
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
        self.data = data[: start + LARGEST]
        self.at = start
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.numbered = 0

    def run(self) -> Any:
        """Step until the pickle says stop; its value."""
        for _ in range(MOST_STEPS):
            code = self.data[self.at]
            self.at += 1
            if code == STOP:
                return self.pop()
            step = STEPS.get(code)
            if step is None:
                raise PickleError(f"it holds the instruction {bytes([code])!r}, which plain data do not need")
            step(self)
        raise PickleError(f"it has more than {MOST_STEPS:,} instructions")

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise PickleError("it is cut off, or larger than any model's")
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        for end in range(self.at, min(self.at + 256, len(self.data))):
            if self.data[end] == 10:
                return self.take(end + 1 - self.at)[:-1].decode()
        raise PickleError("it holds an endless name")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise PickleError("it is broken (a value is missing)")
        return value

    def since_mark(self) -> list[Any]:
        """The values after the last mark, taken off the stack with it."""
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is MARK:
                values = self.stack[at + 1 :]
                del self.stack[at:]
                return values
        raise PickleError("it is broken (a mark is missing)")

    def name(self, module: Any, name: Any) -> None:
        name = f"{module}.{name}" if type(module) is type(name) is str else ""
        if name not in self.names:
            raise PickleError(f"it names {clipped(name)}, which is not plain data")
        self.push(Global(name, self.names[name]))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global):
            raise PickleError("it calls something that is no name")
        self.push(function(arguments))

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Plain):
            target.fields = state
        elif type(target) is not dict:  # an OrderedDict's attributes (torch keeps versions there) are not needed
            raise PickleError(f"it sets the state of a {type(target).__name__}")

    def append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise PickleError("it appends to what is no list")
        target.extend(values)

    def set(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(flat) % 2:
            raise PickleError("it sets items of what is no dict")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            self.set_one(target, key, value)

    def set_one(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        # No tuples: the hash of a deep one would exhaust the C stack.
        if type(key) not in (str, int, float, bool, bytes, type(None)):
            raise PickleError(f"it has a {type(key).__name__} for a key")
        self.numbered += type(key) is not str
        if self.numbered > MOST_NUMBERED:
            raise PickleError(f"it has more than {MOST_NUMBERED:,} keys that are no text")
        if key in target:
            raise PickleError(f"it has the key {clipped(str(key))} twice")
        target[key] = value


def ordered(*arguments: Any) -> dict[Any, Any]:
    """For `collections.OrderedDict`: a dict; the old form brings its items along."""
    items = arguments[0] if arguments else []
    if not all(type(key) is str for key, _ in items):
        raise PickleError("it has an OrderedDict whose keys are no text")
    return dict(items)


def _pair(machine: _Machine) -> list[Any]:
    second, first = machine.pop(), machine.pop()
    return [first, second]


def _tuple(count: int) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        machine.push(tuple(machine.pop() for _ in range(count))[::-1])

    return step


def _numbers(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.number(form))


def _text(form: str, encoding: str = "utf-8") -> Callable[[_Machine], None]:
    return lambda m: m.push(m.take(m.number(form)).decode(encoding))


def _bytes(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.take(m.number(form)))


def _long(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(int.from_bytes(m.take(m.number(form)), "little", signed=True))


def _constant(value: Any) -> Callable[[_Machine], None]:
    return lambda m: m.push(value)


def _get(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.push(m.memo[m.number(form)])


def _put(form: str) -> Callable[[_Machine], None]:
    return lambda m: m.memo.__setitem__(m.number(form), m.stack[-1])


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
    ord("U"): _text("<B", "latin-1"),  # the texts of Python 2
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
