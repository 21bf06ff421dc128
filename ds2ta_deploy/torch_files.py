"""What a PyTorch checkpoint may look like before ``torch.load`` opens it: as large as it is, and no larger unpacked.

``weights_only=True`` keeps code in a file from running. It does not keep a file of a kilobyte from filling the memory, or from
keeping a processor busy for years; that is seen to here.
"""

import pickletools
import zipfile
from pathlib import Path

from ds2ta_deploy.errors import InputError, Problem
from ds2ta_deploy.reading import open_regular

#: Most objects that a pickle may stand for when whatever it shares is counted each time.
_MOST_OBJECTS = 10**7

_MARK = -1


def require_plain(path: Path) -> None:
    """Raise unless the file is a zip archive as ``torch.save`` writes it: nothing compressed, nothing twice, a modest pickle.

    Raises:
        InputError: DS2TA-101 when it is damaged, DS2TA-108 when it would expand.

    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            plain = all(member.compress_type == zipfile.ZIP_STORED and member.file_size == member.compress_size for member in members)
            size = file.seek(0, 2)
            apart = len({member.filename for member in members}) == len(members) and min(m.header_offset for m in members) == 0
            if not (plain and apart and sum(member.file_size for member in members) <= size):
                what = "its members are compressed or overlap, which torch.save never writes"
                raise InputError(Problem("DS2TA-108", what, str(path), "save it with torch.save"))
            pickles = [archive.read(member) for member in members if member.filename.endswith(".pkl")]
        objects = max((weigh_pickle(data) for data in pickles), default=0)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, LookupError, RuntimeError) as error:
        raise InputError(Problem("DS2TA-101", f"is no complete PyTorch checkpoint: {error}", str(path))) from error
    if objects > _MOST_OBJECTS:
        what = f"a few bytes in it stand for more than {_MOST_OBJECTS:,} objects"
        raise InputError(Problem("DS2TA-108", what, str(path), "save tensors and plain values only"))


def weigh_pickle(data: bytes) -> int:
    """Count the objects that a pickle stands for, what is shared counted each time, without building one.

    A tuple of ten references to a tuple of ten references … is a hundred bytes that take years to hash or to print. The count
    follows the stack that unpickling would have, and stops growing at the limit.

    Raises:
        ValueError, LookupError: when it is no pickle.

    Example:
        >>> weigh_pickle(pickle.dumps(((1, 2), (1, 2))))  # doctest: +SKIP
        8

    """
    stack: list[int] = []
    memo: dict[int, int] = {}
    heaviest = 0
    for operation, argument, _ in pickletools.genops(data):
        match operation.name:
            case "MARK":
                stack.append(_MARK)
                continue
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if argument is None else int(argument)] = stack[-1]
                continue
            case "GET" | "BINGET" | "LONG_BINGET":
                made = memo[int(argument or 0)]
            case _:
                made = 1 + _pop(stack, [kind.name for kind in operation.stack_before])
        heaviest = max(heaviest, made)
        stack += [min(made, 2 * _MOST_OBJECTS)] * len(operation.stack_after)
    return heaviest


def _pop(stack: list[int], taken: list[str]) -> int:
    """Take what an operation takes off the stack, and return its weight."""
    total = 0
    if "mark" in taken:
        while (weight := stack.pop()) != _MARK:
            total += weight
        taken = taken[: taken.index("mark")]
    return total + sum(stack.pop() for _ in taken)
