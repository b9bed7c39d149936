"""What the pickle of a checkpoint would do, found out without doing it.

torch's restricted unpickler calls nothing that is not on its list. Yet what is on it can
allocate terabytes (`torch.storage.UntypedStorage(10**12)`), or compute a hash for
years (tuples of the same tuples as a key). So the pickle is read here first, one opcode
after the other, with symbols instead of objects: what is not how `torch.save` writes
tensors, containers and modules is refused.
"""

from __future__ import annotations

import io
import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Mapping
from typing import Any

# What restricted unpickling may use of torch's own list.
ITEM_SIZES = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}
STORAGES = {f"torch.{name}": size for name, size in ITEM_SIZES.items()} | {
    "torch.storage.UntypedStorage": 1  # of the dtypes that have no storage class: float8
}
REBUILDERS = {
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
}
ORDERED, SET, ENCODE = "collections.OrderedDict", "builtins.set", "_codecs.encode"
VALUES = {"torch.Size", "torch.device"}
_DTYPES = """
bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64
complex64 complex128 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu
"""
DTYPES = frozenset(_DTYPES.split())
CALLED = REBUILDERS | VALUES | {ORDERED, SET, ENCODE}

OPCODES, CALLS = 1_000_000, 100_000  # several times those of YOLO26x with its optimizer
SCALARS = (str, bytes, int, float, bool, type(None))


class RefusedError(Exception):
    """Why the pickle is refused, in a few words."""


class Symbol:
    """Stands for what a global names (`made=False`), or for what was made with it."""

    __slots__ = ("made", "name")

    def __init__(self, name: str, made: bool = False) -> None:
        self.name, self.made = name, made


class _Mark:
    pass


def scan(pickle: bytes, allowed: Callable[[str], bool], storages: Mapping[str, int]) -> set[str]:
    """The names of all globals that the pickle uses and torch does not know by itself.

    Args:
        pickle: the bytes of `data.pkl`.
        allowed: whether a stand-in may be used for a global, by its full name.
        storages: the size in bytes of each storage that the file holds, by its key.

    Raises:
        RefusedError: it would do something else than put tensors into containers and modules;
            the message names the offending global, if there is one.
    """
    machine = _Machine(allowed, storages)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
            if count >= OPCODES or machine.calls >= CALLS:
                raise RefusedError("it is longer than the pickle of any network")
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, UnicodeError, OverflowError) as error:
        raise RefusedError(
            f"its pickle is damaged ({str(error) or type(error).__name__:.100})"
        ) from None
    return machine.stand_ins


class _Machine:
    """The stack machine of pickle (pickletools' documentation), on symbols."""

    def __init__(self, allowed: Callable[[str], bool], storages: Mapping[str, int]) -> None:
        self.allowed, self.storages = allowed, storages
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.stand_ins: set[str] = set()
        self.calls = 0

    def step(self, opcode: str, argument: Any) -> None:
        push, pop = self.stack.append, self.stack.pop
        match opcode:
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "BINFLOAT":
                push(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                push({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case "LONG1" | "SHORT_BINSTRING":
                push(argument)
            case "EMPTY_TUPLE":
                push(())
            case "EMPTY_LIST":
                push([])
            case "EMPTY_DICT":
                push({})
            case "EMPTY_SET":
                push(set())
            case "MARK":
                push(_Mark)
            case "TUPLE":
                push(tuple(self._marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                parts = [pop() for _ in range(int(opcode[-1]))]
                push(tuple(reversed(parts)))
            case "APPEND" | "APPENDS":
                items = [pop()] if opcode == "APPEND" else self._marked()
                self._list().extend(items)
            case "SETITEM":
                value, key = pop(), pop()
                self._set_items([key, value])
            case "SETITEMS":
                self._set_items(self._marked())
            case "GLOBAL":
                push(self._global(argument))
            case "BINPERSID":
                push(self._storage(pop()))
            case "REDUCE":
                arguments, called = pop(), pop()
                push(self._call(called, arguments))
            case "NEWOBJ":
                arguments, called = pop(), pop()
                self._stand_in(called, made=False)
                push(Symbol(called.name, made=True))
            case "BUILD":
                pop()
                self._stand_in(self.stack[-1], made=True)
            case "PROTO" | "STOP":
                pass
            case _:
                raise RefusedError(f"torch.save does not write {opcode}")

    def _marked(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _Mark:
            place -= 1
            if place < 0:
                raise IndexError("an end without a beginning")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def _list(self) -> list[Any]:
        if type(self.stack[-1]) is not list:
            raise RefusedError("it adds items to something that is not a list")
        return self.stack[-1]

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not (type(target) is dict or _is(target, ORDERED, made=True)):
            raise RefusedError("it sets items of something that is not a dict")
        if not all(isinstance(key, SCALARS) for key in items[::2]):
            raise RefusedError("it has keys that are neither text nor numbers")

    def _global(self, argument: str) -> Symbol:
        self.calls += 1
        name = global_name(argument)
        if not known(name):
            if not self.allowed(name):
                raise RefusedError(f"it asks for {name}, which does not belong in a network")
            self.stand_ins.add(name)
        return Symbol(name)

    def _storage(self, identity: Any) -> Symbol:
        """`("storage", class, key, device, count)`, of a record with as many values."""
        if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
            raise RefusedError("it refers to something that is not a storage")
        _, kind, key, device, count = identity
        if not isinstance(kind, Symbol) or kind.made or kind.name not in STORAGES:
            raise RefusedError("it has a storage of an unknown kind")
        if not isinstance(key, str) or not isinstance(device, str) or type(count) is not int:
            raise RefusedError("it describes a storage in an unknown way")
        size = self.storages.get(key)
        if size is None:
            raise RefusedError(f"storage {key!r:.40} is missing")
        if count < 0 or count * STORAGES[kind.name] != size:
            needed = count * STORAGES[kind.name]
            raise RefusedError(
                f"it asks for {needed:,} bytes of storage {key!r:.40}, which has {size:,}"
            )
        return Symbol("storage", made=True)

    def _call(self, called: Any, arguments: Any) -> Any:
        self.calls += 1
        if not isinstance(called, Symbol) or called.made or not isinstance(arguments, tuple):
            raise RefusedError("it calls something that it has made itself")
        name = called.name
        if name == SET:
            (items,) = arguments
            if type(items) is not list or not all(isinstance(item, SCALARS) for item in items):
                raise RefusedError("it has a set whose items are neither text nor numbers")
            return set()
        if name == ENCODE:  # how bytes are written; other codecs are slow, or load modules
            text, codec = arguments
            if not isinstance(text, str) or codec != "latin1":
                raise RefusedError(f"it encodes a text as {codec!r:.40}")
            return b""
        if name == ORDERED:
            if arguments:
                raise RefusedError("it fills an OrderedDict in a way torch.save does not")
        elif name in VALUES:
            _flat(arguments)
        elif name not in REBUILDERS:
            self._stand_in(called, made=False)
        return Symbol(name, made=True)

    def _stand_in(self, symbol: Any, made: bool) -> None:
        self.calls += 1
        ours = isinstance(symbol, Symbol) and symbol.made is made
        if not ours or not (symbol.name in self.stand_ins or symbol.name == ORDERED):
            what = symbol.name if isinstance(symbol, Symbol) else "something"
            raise RefusedError(f"it makes or fills {what}, which does not belong in a network")


def _is(symbol: Any, name: str, made: bool) -> bool:
    return isinstance(symbol, Symbol) and symbol.name == name and symbol.made is made


def _flat(arguments: tuple[Any, ...]) -> None:
    for argument in arguments:
        parts = argument if isinstance(argument, tuple) else [argument]
        if not all(isinstance(part, SCALARS) for part in parts):
            raise RefusedError("it has an invalid shape or device")


def known(name: str) -> bool:
    """Whether restricted loading uses this global of torch's own list."""
    module, _, attribute = name.rpartition(".")
    return name in CALLED or name in STORAGES or (module == "torch" and attribute in DTYPES)


def global_name(argument: str) -> str:
    """`module.name` of a GLOBAL's two words; Python 2's names as Python 3 has them."""
    module, _, name = argument.partition(" ")
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"


def globals_named(data: bytes) -> list[str]:
    """The globals that pickles of any protocol name, one pickle after the other.

    What comes after the last complete pickle is left out: it may be anything.
    """
    file = io.BytesIO(data)
    found: list[str] = []
    count = 0
    while count < OPCODES:
        named: list[str] = []
        texts: list[str] = []
        try:
            for opcode, argument, _ in pickletools.genops(file):  # up to STOP
                if opcode.name in ("GLOBAL", "INST"):
                    named.append(global_name(str(argument)))
                elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                    named.append(global_name(" ".join(texts)))
                elif isinstance(argument, str):
                    texts = [*texts[-1:], argument]
                count += 1
                if count >= OPCODES:
                    break
        except (ValueError, IndexError, UnicodeError, OverflowError):
            break
        found += named
    return list(dict.fromkeys(found))
