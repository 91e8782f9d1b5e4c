"""Expressions of primitives as LLVM instructions over vectors of `lanes` elements (1: scalars).

`Elements` emits each node once. Leaves are the caller's: it says what an operand, a parameter or a position is. Nodes
that the caller declares invariant are computed as scalars in another place (before the loop) and spread over the lanes.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from flambeau.ir import float8
from flambeau.ir import types as t
from flambeau.ir.expr import Expr, walk
from flambeau.ir.repeat import carry, results

from .module import Function, literal, llvm_type, suffix

_FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INT_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_FLOAT_UNARY = {
    "abs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "roundeven",
}  # fmt: skip
_FLOAT_COMPARE = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_ORDER = ("lt", "le", "gt", "ge")
_MANTISSA = {"f32": 23, "f64": 52}
_BIAS = {"f32": 127, "f64": 1023}
_EXACT = 2**53  # integers below are exact in float64


class Elements:
    """Emits expressions for `lanes` elements at a time.

    Args:
        function: where instructions go.
        lanes: elements a value holds.
        leaf: gives the value of an `input`, `param` or `index` node.
        invariant: which nodes are the same for all elements; they are emitted by `outer`.
        outer: an `Elements` of one lane that writes to an earlier place.
    """

    def __init__(
        self,
        function: Function,
        lanes: int,
        leaf: Callable[[Expr], str],
        invariant: Callable[[Expr], bool] = lambda e: False,
        outer: "Outside | None" = None,
    ):
        self.function = function
        self.lanes = lanes
        self.leaf = leaf
        self.invariant = invariant
        self.outer = outer
        self._values: dict[Expr, str] = {}
        self._rare: dict[Expr, list[Expr]] = {}

    def emit(self, *roots: Expr) -> list[str]:
        """The values of the roots."""
        self._group_rare(roots)
        for root in roots:
            self._visit(root)
        return [self._values[r] for r in roots]

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is emitted within is forgotten afterwards: its block need not dominate what follows."""
        outside = dict(self._values)
        yield
        self._values = outside

    def define(self, e: Expr, value: str) -> None:
        """Says what a node comes to."""
        self._values[e] = value

    def type(self, dtype: str) -> str:
        """LLVM's type of a value."""
        return llvm_type(dtype, self.lanes)

    def constant(self, value, dtype: str) -> str:
        """A constant in all lanes."""
        text = literal(value, dtype)
        return text if self.lanes == 1 else f"splat ({llvm_type(dtype)} {text})"

    def spread(self, scalar: str, dtype: str) -> str:
        """A scalar in all lanes."""
        if self.lanes == 1:
            return scalar
        f, vector, scalar_type = self.function, self.type(dtype), llvm_type(dtype)
        one = f.value(f"insertelement {vector} poison, {scalar_type} {scalar}, i32 0")
        return f.value(f"shufflevector {vector} {one}, {vector} poison, <{self.lanes} x i32> zeroinitializer")

    def _group_rare(self, roots: Iterable[Expr]) -> None:
        """`unlikely` nodes with one condition share a branch, unless one is made of another."""
        for e in walk(roots):
            if e.op == "unlikely":
                group = self._rare.setdefault(e.args[0], [])
                if e not in _Members(group) and not any(g in _Members(walk([e])) for g in group):
                    group.append(e)

    def _visit(self, root: Expr) -> None:
        stack = [root]
        while stack:
            e = stack[-1]
            if e in self._values:
                stack.pop()
                continue
            if e.op != "const" and self.outer is not None and self.invariant(e):
                self._values[e] = self.outer.value(e, self)
                stack.pop()
                continue
            todo = [a for a in self._needed(e) if a not in self._values]
            if todo:
                stack.extend(reversed(todo))
                continue
            stack.pop()
            self._define(e)

    def _needed(self, e: Expr) -> list[Expr]:
        """What must be emitted before a node; the rare value of `unlikely` is emitted behind its branch."""
        if e.op != "unlikely":
            return list(e.args)
        return [e.args[0], *(g.args[2] for g in self._group_of(e))]

    def _group_of(self, e: Expr) -> list[Expr]:
        group = self._rare.get(e.args[0], [])
        return group if e in _Members(group) else [e]

    def _define(self, e: Expr) -> None:
        if e.op == "unlikely":
            self._branch(self._group_of(e))
        elif e.op in ("input", "param", "index"):
            self._values[e] = self.leaf(e)
        else:
            self._values[e] = getattr(self, f"_emit_{e.op}", self._emit_plain)(e, *(self._values[a] for a in e.args))

    def _branch(self, group: list[Expr]) -> None:
        """Computes the rare values of a group only where some lane wants one."""
        f = self.function
        condition = self._values[group[0].args[0]]
        kept = [f.variable(self.type(e.dtype), self._values[e.args[2]]) for e in group]
        any_lane = self.any_lane(condition)
        outside = dict(self._values)
        with f.when(any_lane):
            for e, address in zip(group, kept, strict=True):
                self._visit(e.args[1])
                kind = self.type(e.dtype)
                rare, usual = self._values[e.args[1]], outside[e.args[2]]
                chosen = f.value(f"select {self.type('b1')} {condition}, {kind} {rare}, {kind} {usual}")
                f.do(f"store {kind} {chosen}, ptr {address}")
        self._values = outside
        for e, address in zip(group, kept, strict=True):
            self._values[e] = f.value(f"load {self.type(e.dtype)}, ptr {address}")

    def any_lane(self, condition: str) -> str:
        """Whether a condition holds in some lane."""
        if self.lanes == 1:
            return condition
        name = f"llvm.vector.reduce.or.v{self.lanes}i1"
        return self.function.call(name, "i1", f"<{self.lanes} x i1> {condition}")

    def _emit_repeat(self, e: Expr, *args: str) -> str:
        """Runs the loop while some lane goes on; lanes that have stopped keep their state."""
        f, steps = self.function, e.attr[0]
        nodes = results(e.args, steps)
        state = [f.variable(self.type(n.dtype), a) for n, a in zip(nodes, args, strict=False)]
        outside, outer = self._values, self.outer
        self.outer = None  # what does not change was found by `ir.repeat`
        with f.repeat(steps.limit) as go_on_if:
            self._values = {carry(k, a.dtype): v for k, (a, v) in enumerate(zip(e.args, args, strict=True))}
            for k, (n, place) in enumerate(zip(nodes, state, strict=True)):
                self._values[carry(k, n.dtype)] = f.value(f"load {self.type(n.dtype)}, ptr {place}")
            self._visit(steps.go)
            go = self._values[steps.go]
            go_on_if(self.any_lane(go))
            for following in steps.next:
                self._visit(following)
            for k, (n, place) in enumerate(zip(nodes, state, strict=True)):
                before, after = self._values[carry(k, n.dtype)], self._values[steps.next[k]]
                f.do(f"store {self.type(n.dtype)} {self._select(n.dtype, go, after, before)}, ptr {place}")
        self._values, self.outer = outside, outer
        for n, place in zip(nodes, state, strict=True):
            self._values[n] = f.value(f"load {self.type(n.dtype)}, ptr {place}")
        return self._values[e]

    # One method an operation; `_emit_plain` serves those that are one instruction or intrinsic.

    def _emit_plain(self, e: Expr, *a: str) -> str:
        kind = self.type(e.args[0].dtype)
        if t.is_float(e.dtype) and e.op in _FLOAT_BINARY:
            return self.function.value(f"{_FLOAT_BINARY[e.op]} {kind} {a[0]}, {a[1]}")
        if e.op in _INT_BINARY and not t.is_float(e.dtype):
            return self.function.value(f"{_INT_BINARY[e.op]} {kind} {a[0]}, {a[1]}")
        if t.is_float(e.dtype) and e.op in _FLOAT_UNARY:
            return self._intrinsic(_FLOAT_UNARY[e.op], e.dtype, *a)
        if e.op in _FLOAT_COMPARE:
            return self._compare(e.op, e.args[0].dtype, *a)
        raise TypeError(f"no code for {e.op} of {e.dtype}")

    def _intrinsic(self, name: str, dtype: str, *a: str) -> str:
        kind = self.type(dtype)
        return self.function.call(f"llvm.{name}.{suffix(dtype, self.lanes)}", kind, *(f"{kind} {x}" for x in a))

    def _compare(self, op: str, dtype: str, a: str, b: str) -> str:
        if t.is_float(dtype):
            return self.function.value(f"fcmp {_FLOAT_COMPARE[op]} {self.type(dtype)} {a}, {b}")
        predicate = op if op not in _ORDER else ("s" if t.is_signed(dtype) else "u") + op
        return self.function.value(f"icmp {predicate} {self.type(dtype)} {a}, {b}")

    def _select(self, dtype: str, condition: str, a: str, b: str) -> str:
        kind = self.type(dtype)
        return self.function.value(f"select {self.type('b1')} {condition}, {kind} {a}, {kind} {b}")

    def _emit_const(self, e: Expr) -> str:
        return self.constant(e.attr, e.dtype)

    def _emit_neg(self, e: Expr, a: str) -> str:
        if t.is_float(e.dtype):
            return self.function.value(f"fneg {self.type(e.dtype)} {a}")
        return self.function.value(f"sub {self.type(e.dtype)} {self.constant(0, e.dtype)}, {a}")

    def _emit_abs(self, e: Expr, a: str) -> str:
        if t.is_float(e.dtype):
            return self._intrinsic("fabs", e.dtype, a)
        kind = self.type(e.dtype)
        return self.function.call(f"llvm.abs.{suffix(e.dtype, self.lanes)}", kind, f"{kind} {a}", "i1 false")

    def _emit_not(self, e: Expr, a: str) -> str:
        return self.function.value(f"xor {self.type(e.dtype)} {a}, {self.constant(-1, e.dtype)}")

    def _emit_fma(self, e: Expr, a: str, b: str, c: str) -> str:
        return self._intrinsic("fma", e.dtype, a, b, c)

    def _emit_copysign(self, e: Expr, a: str, b: str) -> str:
        return self._intrinsic("copysign", e.dtype, a, b)

    def _emit_select(self, e: Expr, condition: str, a: str, b: str) -> str:
        return self._select(e.dtype, condition, a, b)

    def _emit_max(self, e: Expr, a: str, b: str) -> str:
        return self._extreme(e.dtype, "gt", "max", a, b)

    def _emit_min(self, e: Expr, a: str, b: str) -> str:
        return self._extreme(e.dtype, "lt", "min", a, b)

    def _extreme(self, dtype: str, better: str, name: str, a: str, b: str) -> str:
        """The better of two floats is b where either is nan, so that only a is tested further."""
        if not t.is_float(dtype):
            return self._intrinsic(("s" if t.is_signed(dtype) else "u") + name, dtype, a, b)
        chosen = self._select(dtype, self._compare(better, dtype, a, b), a, b)
        return self._select(dtype, self._compare("ne", dtype, a, a), a, chosen)

    def _emit_ldexp(self, e: Expr, x: str, n: str) -> str:
        """x * 2**n by two factors (or one instruction): the last product alone is rounded."""
        bits = self.lanes * t.bits(e.dtype)
        if self.function.target.scalef and bits in (128, 256, 512):
            power = e.args[1]  # the instruction rounds it down by itself
            return self._scalef(e.dtype, bits, x, self._values.get(power.args[0], n) if power.op == "floor" else n)
        f, integer = self.function, t.int_of(e.dtype)
        kind, ints = self.type(e.dtype), self.type(integer)
        whole = f.value(f"freeze {ints} {f.value(f'fptosi {kind} {n} to {ints}')}")
        first = f.value(f"ashr {ints} {whole}, {self.constant(1, integer)}")
        second = f.value(f"sub {ints} {whole}, {first}")
        for part in (first, second):
            biased = f.value(f"add {ints} {part}, {self.constant(_BIAS[e.dtype], integer)}")
            shifted = f.value(f"shl {ints} {biased}, {self.constant(_MANTISSA[e.dtype], integer)}")
            x = f.value(f"fmul {kind} {x}, {f.value(f'bitcast {ints} {shifted} to {kind}')}")
        return x

    def _scalef(self, dtype: str, bits: int, x: str, n: str) -> str:
        kind = self.type(dtype)
        name = f"llvm.x86.avx512.mask.scalef.{'ps' if dtype == 'f32' else 'pd'}.{bits}"
        mask = f"i{max(8, self.lanes)} -1"
        rounding = ("i32 4",) if bits == 512 else ()
        return self.function.call(name, kind, f"{kind} {x}", f"{kind} {n}", f"{kind} {x}", mask, *rounding)

    def _emit_idiv(self, e: Expr, a: str, b: str) -> str:
        return self._divide(e.dtype, "div", a, b, self.constant(0, e.dtype))

    def _emit_irem(self, e: Expr, a: str, b: str) -> str:
        return self._divide(e.dtype, "rem", a, b, a)

    def _divide(self, dtype: str, op: str, a: str, b: str, at_zero: str) -> str:
        """Division with the two traps taken out: by zero, and of the smallest integer by -1."""
        f, kind = self.function, self.type(dtype)
        zero = self._compare("eq", dtype, b, self.constant(0, dtype))
        safe = self._select(dtype, zero, self.constant(1, dtype), b)
        if not t.is_signed(dtype):
            return self._select(dtype, zero, at_zero, self._divide_safely(dtype, op, a, safe))
        minus = self._compare("eq", dtype, b, self.constant(-1, dtype))
        safe = self._select(dtype, minus, self.constant(1, dtype), safe)
        value = self._divide_safely(dtype, op, a, safe)
        by_minus_one = self.constant(0, dtype)
        if op == "div":
            by_minus_one = f.value(f"sub {kind} {self.constant(0, dtype)}, {a}")
        return self._select(dtype, zero, at_zero, self._select(dtype, minus, by_minus_one, value))

    def _divide_safely(self, dtype: str, op: str, a: str, b: str) -> str:
        """Division without traps. Processors divide vectors of floats only, whose quotients have the right whole part
        where the integers are exact in them."""
        f, kind, sign = self.function, self.type(dtype), "s" if t.is_signed(dtype) else "u"
        if self.lanes == 1:
            return f.value(f"{sign}{op} {kind} {a}, {b}")
        if t.SIZE[dtype] < 8:
            return self._divide_as_floats(dtype, op, a, b)
        bias = self.constant(_EXACT // 2 if sign == "s" else 0, dtype)
        both = f.value(f"or {kind} {f.value(f'add {kind} {a}, {bias}')}, {f.value(f'add {kind} {b}, {bias}')}")
        high = f.value(f"and {kind} {both}, {self.constant(-_EXACT, dtype)}")
        large = self.any_lane(self._compare("ne", dtype, high, self.constant(0, dtype)))
        place = f.variable(kind)
        with f.when(large):
            f.do(f"store {kind} {f.value(f'{sign}{op} {kind} {a}, {b}')}, ptr {place}")
        with f.when(f.value(f"xor i1 {large}, true")):
            f.do(f"store {kind} {self._divide_as_floats(dtype, op, a, b)}, ptr {place}")
        return f.value(f"load {kind}, ptr {place}")

    def _divide_as_floats(self, dtype: str, op: str, a: str, b: str) -> str:
        """Of integers that are exact as floats."""
        f, sign = self.function, "s" if t.is_signed(dtype) else "u"
        real = "f32" if t.SIZE[dtype] < 4 else "f64"
        x, y = (self._convert(f"{sign}itofp", v, dtype, real) for v in (a, b))
        value = self._intrinsic("trunc", real, f.value(f"fdiv {self.type(real)} {x}, {y}"))
        if op == "rem":
            minus = f.value(f"fneg {self.type(real)} {value}")
            value = self._intrinsic("fma", real, minus, y, x)
        return self._convert(f"fpto{sign}i", value, real, dtype)

    def _emit_shl(self, e: Expr, a: str, b: str) -> str:
        return self._shift(e, "shl", a, b)

    def _emit_shr(self, e: Expr, a: str, b: str) -> str:
        return self._shift(e, "ashr" if t.is_signed(e.dtype) else "lshr", a, b)

    def _shift(self, e: Expr, op: str, a: str, b: str) -> str:
        """A count outside the width (or negative) shifts everything out."""
        f, kind, width = self.function, self.type(e.dtype), t.bits(e.dtype)
        count = e.args[1]
        if count.op == "const" and 0 <= count.attr < width:
            return f.value(f"{op} {kind} {a}, {b}")
        inside = f.value(f"icmp ult {kind} {b}, {self.constant(width, e.dtype)}")
        if op == "ashr":
            return f.value(f"ashr {kind} {a}, {self._select(e.dtype, inside, b, self.constant(width - 1, e.dtype))}")
        safe = self._select(e.dtype, inside, b, self.constant(0, e.dtype))
        return self._select(e.dtype, inside, f.value(f"{op} {kind} {a}, {safe}"), self.constant(0, e.dtype))

    def _emit_bitcast(self, e: Expr, a: str) -> str:
        source, target = self.type(e.args[0].dtype), self.type(e.dtype)
        return a if source == target else self.function.value(f"bitcast {source} {a} to {target}")

    def _emit_round_to(self, e: Expr, a: str) -> str:
        return self.widen(self.narrow(a, e.attr), e.attr)

    def _emit_lookup(self, e: Expr, position: str) -> str:
        """table[position], the position clamped to the table."""
        f, where, last = self.function, e.args[0], len(e.attr) - 1
        index, fits = where.dtype, self._fits_registers(e)
        if not (where.op == "and" and where.args[1].op == "const" and 0 <= where.args[1].attr <= last):
            position = self._intrinsic("smax", index, position, self.constant(0, index))
            position = self._intrinsic("smin", index, position, self.constant(last, index))
        elif fits and f.target.is_x86 and where.args[1].attr == last:
            position = self._values.get(where.args[0], position)  # last bits are all that these instructions see
        if fits:
            return self._shuffled(e, position)
        table, scalar, kind = f.module.table(e.attr, e.dtype), llvm_type(e.dtype), self.type(e.dtype)
        addresses = f.value(f"getelementptr {scalar}, ptr {table}, {self.type(index)} {position}")
        if self.lanes == 1:
            return f.value(f"load {scalar}, ptr {addresses}")
        pointers, mask = f"<{self.lanes} x ptr>", self.type("b1")
        name = f"llvm.masked.gather.{suffix(e.dtype, self.lanes)}.v{self.lanes}p0"
        align = f"align {t.SIZE[e.dtype]}"
        return f.call(name, kind, f"{pointers} {align} {addresses}", f"{mask} splat (i1 true)", f"{kind} poison")

    def _fits_registers(self, e: Expr) -> bool:
        """Can the machine shuffle the registers that a table fills by positions?"""
        target, count = self.function.target, len(e.attr)
        if e.dtype != "f32" or e.args[0].dtype != "i32":
            return False
        if target.is_x86:
            return count in (self.lanes, 2 * self.lanes) and self.lanes in (8, 16)
        return target.is_arm and count == 16 and self.lanes == 4

    def _shuffled(self, e: Expr, position: str) -> str:
        """A table's elements from registers: of x86 from one, or from two in one instruction (AVX-512) or three."""
        f, n, kind, ints = self.function, self.lanes, self.type("f32"), self.type("i32")
        texts = [f"float {literal(x, 'f32')}" for x in e.attr]
        count = n if texts == texts[:n] * (len(texts) // n) else len(texts)  # one that repeats is there once
        tables = [f"{kind} <{', '.join(texts[k : k + n])}>" for k in range(0, count, n)]
        if f.target.is_arm:
            return self._shuffled_bytes(tables, position)
        if len(tables) == 2 and f.target.masks:
            name = f"llvm.x86.avx512.vpermi2var.ps.{32 * n}"
            return f.call(name, kind, tables[0], f"{ints} {position}", tables[1])
        name = "llvm.x86.avx512.permvar.sf.512" if n == 16 else "llvm.x86.avx2.permps"
        found = [f.call(name, kind, table, f"{ints} {position}") for table in tables]
        if len(found) == 1:
            return found[0]
        sign = f.value(f"shl {ints} {position}, {self.constant(32 - n.bit_length(), 'i32')}")
        return self._select("f32", f.value(f"icmp slt {ints} {sign}, zeroinitializer"), found[1], found[0])

    def _shuffled_bytes(self, tables: list[str], position: str) -> str:
        """NEON counts in bytes: those of an element are 4 * position + 0, 1, 2, 3."""
        f, ints, raw = self.function, self.type("i32"), "<16 x i8>"
        spread = f.value(f"mul {ints} {position}, {self.constant(0x04040404, 'i32')}")
        places = f.value(f"add {ints} {spread}, {self.constant(0x03020100, 'i32')}")
        bytes_ = [f"{raw} {f.value(f'bitcast {table} to {raw}')}" for table in tables]
        at = f"{raw} {f.value(f'bitcast {ints} {places} to {raw}')}"
        found = f.call("llvm.aarch64.neon.tbl4.v16i8", raw, *bytes_, at)
        return f.value(f"bitcast {raw} {found} to {self.type('f32')}")

    def _emit_cast(self, e: Expr, a: str) -> str:
        return self.cast(a, e.args[0].dtype, e.dtype)

    def cast(self, a: str, source: str, target: str) -> str:
        """A value in another compute dtype, as `ir.interp` defines it."""
        if source == target:
            return a
        if target == "b1":
            return self._compare("ne", source, a, self.constant(0, source))
        if t.is_float(source):
            return self._from_float(a, source, target)
        if t.is_float(target):
            op = "sitofp" if t.is_signed(source) else "uitofp"
            return self._convert(op, a, source, target)
        if source == "b1" or t.SIZE[source] < t.SIZE[target]:
            return self._convert("sext" if t.is_signed(source) else "zext", a, source, target)
        return self._convert("trunc", a, source, target) if t.SIZE[source] > t.SIZE[target] else a

    def _convert(self, op: str, a: str, source: str, target: str) -> str:
        return self.function.value(f"{op} {self.type(source)} {a} to {self.type(target)}")

    def _from_float(self, a: str, source: str, target: str) -> str:
        if t.is_float(target):
            return self._convert("fpext" if target == "f64" else "fptrunc", a, source, target)
        if target == "u64":
            return self._to_u64(a, source)
        wide = "i32" if target in ("i8", "i16", "i32") else "i64"
        value = self._to_int(a, source, wide)
        return value if t.SIZE[wide] == t.SIZE[target] else self._convert("trunc", value, wide, target)

    def _to_int(self, a: str, source: str, target: str) -> str:
        """Rounded towards zero; the smallest integer for nan and what does not fit."""
        limit = 2.0 ** (t.bits(target) - 1)
        low = self.constant(-limit, source)
        if source == "f64" and target == "i32":
            above = self._compare("gt", source, a, self.constant(-limit - 1, source))
        else:
            above = self._compare("ge", source, a, low)
        below = self._compare("lt", source, a, self.constant(limit, source))
        inside = self.function.value(f"and {self.type('b1')} {above}, {below}")
        return self._convert("fptosi", self._select(source, inside, a, low), source, target)

    def _to_u64(self, a: str, source: str) -> str:
        """As to i64 below 2**63; above, 2**63 is taken off before and put back after."""
        f, limit = self.function, self.constant(2.0**63, source)
        large = self._compare("ge", source, a, limit)
        reduced = f.value(f"fsub {self.type(source)} {a}, {limit}")
        high = self._to_int(reduced, source, "i64")
        high = f.value(f"xor {self.type('i64')} {high}, {self.constant(-(2**63), 'i64')}")
        return self._select("u64", large, high, self._to_int(a, source, "i64"))

    def widen(self, a: str, storage: str) -> str:
        """The compute value of an element as it lies in memory."""
        f = self.function
        if storage == "bf16":
            ints = self.type("i32")
            shifted = f.value(f"shl {ints} {self._convert('zext', a, 'i16', 'i32')}, {self.constant(16, 'i32')}")
            return f.value(f"bitcast {ints} {shifted} to {self.type('f32')}")
        if storage == "f16":
            return self._convert("fpext", a, "f16", "f32")
        if storage == "b1":
            return self._compare("ne", "u8", a, self.constant(0, "u8"))
        if storage in t.FLOATS8:
            return self._formula(float8.widened(storage), a)
        return a

    def _formula(self, e: Expr, operand: str) -> str:
        """The value of an expression of one operand."""
        return Elements(self.function, self.lanes, lambda leaf: operand).emit(e)[0]

    def narrow(self, a: str, storage: str) -> str:
        """What lies in memory for a compute value: rounded to nearest even, nan stays nan."""
        if storage == "f16":
            return self._convert("fptrunc", a, "f32", "f16")
        if storage == "b1":
            return self._convert("zext", a, "b1", "u8")
        if storage in t.FLOATS8:
            return self._formula(float8.narrowed(storage), a)
        if storage != "bf16":
            return a
        upper = self.function.value(f"lshr {self.type('i32')} {self.rounded(a)}, {self.constant(16, 'i32')}")
        return self._convert("trunc", upper, "i32", "i16")

    def rounded(self, a: str) -> str:
        """Bits of a float32, the upper half of which is what it is as a bfloat16."""
        f, ints = self.function, self.type("i32")
        bits = f.value(f"bitcast {self.type('f32')} {a} to {ints}")
        high = f.value(f"lshr {ints} {bits}, {self.constant(16, 'i32')}")
        odd = f.value(f"and {ints} {high}, {self.constant(1, 'i32')}")
        bias = f.value(f"add {ints} {odd}, {self.constant(0x7FFF, 'i32')}")
        nearest = f.value(f"add {ints} {bits}, {bias}")
        quiet = f.value(f"or {ints} {bits}, {self.constant(0x400000, 'i32')}")
        return self._select("i32", self._compare("ne", "f32", a, a), quiet, nearest)


class _Members:
    """Membership by identity: `==` of expressions builds a comparison."""

    def __init__(self, exprs: Iterable[Expr]):
        self._ids = {id(e) for e in exprs}

    def __contains__(self, e: Expr) -> bool:
        return id(e) in self._ids


class Outside:
    """Values that are the same for all elements, computed once in an open section and spread over lanes there.

    Args:
        function: the function being written.
        place: an open section before the loop.
        leaf: gives the scalar value of a leaf; called while the section is current.
    """

    def __init__(self, function: Function, place: list, leaf: Callable[[Expr], str]):
        self._function = function
        self._place = place
        self._scalars = Elements(function, 1, leaf)
        self._spread: dict[tuple[int, Expr], str] = {}

    def value(self, e: Expr, inside: Elements) -> str:
        """The value of an invariant node for the lanes of `inside`."""
        key = (inside.lanes, e)
        if key not in self._spread:
            with self._function.at(self._place):
                (scalar,) = self._scalars.emit(e)
                self._spread[key] = inside.spread(scalar, e.dtype)
        return self._spread[key]


def depends_only_on(roots: Iterable[Expr], leaves: Callable[[Expr], bool]) -> Callable[[Expr], bool]:
    """Which nodes of a program are made only of constants and of leaves that `leaves` accepts."""
    yes: dict[int, bool] = {}
    for e in walk(roots):
        if e.op in ("input", "param", "index"):
            yes[id(e)] = leaves(e)
        else:
            yes[id(e)] = all(yes[id(a)] for a in e.args)
    return lambda e: yes.get(id(e), False)
