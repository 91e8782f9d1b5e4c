"""Element types of the IR: names, sizes, kinds, and how operands of a formula meet.

A *storage* dtype is what lies in memory; a *compute* dtype is what arithmetic is done in. They differ only for those of
16 and 8 bits (`NARROW`), whose elements are computed in `f32` and rounded once when stored.
"""

FLOATS8 = ("e4m3", "e5m2", "e4m3z", "e5m2z")
NARROW = ("bf16", "f16", *FLOATS8)
FLOATS = ("f16", "bf16", "f32", "f64", *FLOATS8)
COMPLEX = ("c64", "c128")
SIGNED = ("i8", "i16", "i32", "i64")
UNSIGNED = ("u8", "u16", "u32", "u64")
INTS = SIGNED + UNSIGNED
DTYPES = FLOATS + COMPLEX + INTS + ("b1",)

SIZE = {"f16": 2, "bf16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16, "b1": 1}
SIZE.update({d: int(d[1:]) // 8 for d in INTS})
SIZE.update(dict.fromkeys(FLOATS8, 1))

_COMPUTE = dict.fromkeys(NARROW, "f32")
_REAL_OF = {"c64": "f32", "c128": "f64"}
_COMPLEX_OF = {"f32": "c64", "f64": "c128"}


def bits(dtype: str) -> int:
    """Width of an element in bits, as held in memory."""
    return SIZE[dtype] * 8


def is_float(dtype: str) -> bool:
    return dtype in FLOATS


def is_complex(dtype: str) -> bool:
    return dtype in COMPLEX


def is_int(dtype: str) -> bool:
    return dtype in INTS


def is_signed(dtype: str) -> bool:
    return dtype in SIGNED


def limit(dtype: str, lowest: bool) -> float | int | bool:
    """What no element is below (else: above)."""
    if dtype == "b1":
        return not lowest
    if is_float(dtype):
        return float("-inf") if lowest else float("inf")
    least = -(1 << (bits(dtype) - 1)) if is_signed(dtype) else 0
    return least if lowest else least + (1 << bits(dtype)) - 1


def compute_dtype(dtype: str) -> str:
    """The dtype in which elements stored as `dtype` are computed."""
    return _COMPUTE.get(dtype, dtype)


def real_of(dtype: str) -> str:
    """The dtype of the real part."""
    return _REAL_OF.get(dtype, dtype)


def complex_of(dtype: str) -> str:
    """The complex dtype whose parts are `dtype`."""
    return _COMPLEX_OF.get(dtype, dtype)


def uint_of(dtype: str) -> str:
    """The unsigned integer of the same width: what bit tricks on a float are done in."""
    return f"u{bits(dtype)}"


def int_of(dtype: str) -> str:
    """The signed integer of the same width."""
    return f"i{bits(dtype)}"


def promote(a: str, b: str) -> str:
    """The dtype in which an operation between two compute dtypes is done (bool < integer < float < complex)."""
    if a == b:
        return a
    if _rank(a) > _rank(b):
        a, b = b, a
    if _rank(a) == _rank(b):
        return _join_ints(a, b) if is_int(a) else max(a, b, key=SIZE.__getitem__)
    if is_complex(b) and a == "f64":
        return "c128"
    return b


def _rank(dtype: str) -> int:
    return 0 if dtype == "b1" else 1 if is_int(dtype) else 2 if is_float(dtype) else 3


def _join_ints(a: str, b: str) -> str:
    if is_signed(a) == is_signed(b):
        return max(a, b, key=SIZE.__getitem__)
    signed, unsigned = (a, b) if is_signed(a) else (b, a)
    width = max(SIZE[signed], 2 * SIZE[unsigned])
    return f"i{min(width, 8) * 8}"
