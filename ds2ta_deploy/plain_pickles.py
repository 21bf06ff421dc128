"""Pickles that hold plain values and arrays of bytes, read without running them.

A pickle is a program, and Python's own reader runs it. Here the instructions, which ``pickletools`` only spells out, are
followed on a stack of our own: nothing is imported, looked up or called whatever the file asks for, and nothing is made that
is larger than the file.
"""

import pickletools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class PickleRefusedError(ValueError):
    """A pickle is damaged, or holds something else than plain values and arrays of bytes."""


class Name(NamedTuple):
    """What a pickle would have had imported: here it stays a name."""

    module: str
    name: str


#: How NumPy's array, its type, and the bytes of Python 3 in an old protocol are spelled.
_MAKE_ARRAY = (Name("numpy.core.multiarray", "_reconstruct"), Name("numpy._core.multiarray", "_reconstruct"))
_ARRAY_CLASS, _MAKE_TYPE = Name("numpy", "ndarray"), Name("numpy", "dtype")
_ENCODE, _NO_BYTES = Name("_codecs", "encode"), Name("__builtin__", "bytes")
_KNOWN = {*_MAKE_ARRAY, _ARRAY_CLASS, _MAKE_TYPE, _ENCODE, _NO_BYTES}

#: The type of a byte: what it is made from, and the state that it is given next (version, order, no fields, no sizes, no flags).
_BYTE, _BYTE_STATE = "u1", (3, "|", None, None, None, -1, -1, 0)

#: Instructions whose argument is the value, that stand for a value, and that make an empty container.
_INTEGERS = {"BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG"}
_TEXTS = {"SHORT_BINSTRING", "BINSTRING", "STRING", "SHORT_BINUNICODE", "BINUNICODE", "UNICODE"}
_LITERALS = {*_INTEGERS, *_TEXTS, "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type[Any]] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}

_MARK = object()


class ByteType:
    """NumPy's type uint8, on the stack."""


class PickledArray:
    """An array of bytes that is first made and then filled."""

    array: NDArray[np.uint8] | None = None

    def fill(self, shape: tuple[Any, ...], data: bytes, *, first_axis_fastest: bool) -> None:
        """Take shape, bytes and their order; they must agree."""
        if not all(type(length) is int and length >= 0 for length in shape):
            raise PickleRefusedError("holds an array without a shape")
        try:
            self.array = np.frombuffer(data, np.uint8).reshape(shape, order="F" if first_axis_fastest else "C")
        except (ValueError, OverflowError) as error:  # the product of the lengths is not the number of bytes
            raise PickleRefusedError(f"holds an array of another size than it says: {error}") from error


def read_plain_pickle(data: bytes) -> Any:
    """Return the value that a pickle stands for: dictionaries, lists, tuples, strings, bytes, integers, arrays of bytes.

    Arrays are given as :class:`PickledArray`. A string of Python 2 is given as ``str``, a character a byte (Latin-1).

    Raises:
        PickleRefusedError: when it is damaged, goes on behind its end, or holds anything else; nothing of it has been run.

    Example:
        >>> read_plain_pickle(pickle.dumps({"labels": [3, 1]}))  # doctest: +SKIP
        {'labels': [3, 1]}

    """
    machine, end = _Machine(len(data)), 0
    try:
        for operation, argument, position in pickletools.genops(data):
            machine.follow(operation.name, argument)
            end = int(position or 0) + 1
        (value,) = machine.stack
    except PickleRefusedError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:  # what a spoiled sequence of instructions meets
        raise PickleRefusedError(f"is no complete pickle: {error}") from error
    if end != len(data):
        raise PickleRefusedError("goes on behind its end")
    return value


class _Machine:
    """The stack and the memory that the instructions work on, and how many bytes may still be copied."""

    def __init__(self, copies: int) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.copies = copies

    def follow(self, operation: str, argument: Any) -> None:
        """Follow one instruction."""
        stack = self.stack
        match operation:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                stack.append(_MARK)
            case "POP":
                stack.pop()
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self.memory[int(argument)] = stack[-1]
            case "MEMOIZE":
                self.memory[len(self.memory)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(self.memory[int(argument)])
            case "GLOBAL" | "STACK_GLOBAL":
                stack.append(self._name(argument))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(self._make(function, arguments))
            case "BUILD":
                state = stack.pop()
                self._fill(stack[-1], state)
            case _:
                stack.append(self._plain(operation, argument))

    def _plain(self, operation: str, argument: Any) -> Any:
        """Return the plain value that an instruction makes, or the container it has put one into."""
        if operation in _LITERALS:
            return argument
        if operation in _CONSTANTS:
            return _CONSTANTS[operation]
        return _EMPTY[operation]() if operation in _EMPTY else self._container(operation)

    def _container(self, operation: str) -> Any:
        """Return the container that takes what lies on the stack."""
        stack = self.stack
        container: Any
        match operation:
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                container = tuple(reversed([stack.pop() for _ in range(int(operation[-1]))]))
            case "TUPLE":
                container = tuple(self._marked())
            case "LIST":
                container = self._marked()
            case "DICT":
                container = _put({}, self._marked())
            case "APPEND":
                container = _append(stack.pop(-2), [stack.pop()])
            case "APPENDS":
                values = self._marked()
                container = _append(stack.pop(), values)
            case "SETITEM":
                container = _put(stack.pop(-3), [stack.pop(-2), stack.pop()])
            case "SETITEMS":
                items = self._marked()
                container = _put(stack.pop(), items)
            case _:
                raise PickleRefusedError(f"holds something else than plain values and arrays of bytes ({operation})")
        return container

    def _marked(self) -> list[Any]:
        """Take everything above the last mark."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _name(self, argument: Any) -> Name:
        """Return the name that is asked for, if it is one of the few that plain arrays need."""
        if argument is None:
            module, name = self.stack.pop(-2), self.stack.pop()
        else:
            module, name = argument.split(" ", 1)
        asked = Name(module, name)
        if asked not in _KNOWN:
            raise PickleRefusedError(f"asks for {module}.{name}, which no plain value needs")
        return asked

    def _make(self, function: Any, arguments: Any) -> Any:
        """Return what calling a name would have given, for the calls that plain arrays consist of."""
        match arguments:
            case (Name() as made, (0,), b"b" | "b") if function in _MAKE_ARRAY and made == _ARRAY_CLASS:
                return PickledArray()
            case (str() as kind, *_) if function == _MAKE_TYPE:
                if kind != _BYTE:
                    raise PickleRefusedError(f"holds an array of {kind!r}, not of bytes")
                return ByteType()
            case (str() as text, "latin1") if function == _ENCODE:
                return self._latin1(text)
            case () if function == _NO_BYTES:
                return b""
        raise PickleRefusedError("calls something else than what makes an array of bytes")

    def _fill(self, target: Any, state: Any) -> None:
        """Give a made object its state."""
        match target, state:
            case PickledArray(), (1, tuple() as shape, ByteType(), bool() as first_axis_fastest, bytes() | str() as data):
                raw = data if isinstance(data, bytes) else self._latin1(data)
                target.fill(shape, raw, first_axis_fastest=first_axis_fastest)
            case ByteType(), tuple() if state == _BYTE_STATE:
                pass
            case _:
                raise PickleRefusedError("gives a state to what is no array of bytes")

    def _latin1(self, text: str) -> bytes:
        """Return the bytes that a string of Python 2 was; one that is asked for again and again is a bomb."""
        self.copies -= len(text)
        if self.copies < 0:
            raise PickleRefusedError("expands beyond its own size")
        return text.encode("latin-1")  # UnicodeEncodeError is a ValueError


def _append(target: Any, values: list[Any]) -> list[Any]:
    if type(target) is not list:
        raise PickleRefusedError("appends to what is no list")
    target += values
    return target


def _put(target: Any, items: list[Any]) -> dict[Any, Any]:
    keys, values = items[::2], items[1::2]
    if type(target) is not dict or len(keys) != len(values) or not all(type(key) in (str, bytes, int) for key in keys):
        raise PickleRefusedError("holds a dictionary whose keys are not plain")
    target.update(zip(keys, values, strict=True))
    return target
