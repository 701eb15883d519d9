"""Vectors of 512 bits as values inside numba kernels: 64 x uint8, 32 x int16 or 16 x float32.

A compiler that is left to vectorise short rotated segments spends its time in alias checks and scalar remainders. Here
a kernel says what it means instead, and LLVM maps it to one AVX-512 register, two of AVX2 or four of SSE. ``load`` and
``store`` touch whole vectors without bounds checks: buffers must be padded to whole vectors.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.extending import models, register_model

intrinsic: Any = extending.intrinsic  # called with one argument less than it is defined with

LANES_U8 = 64
LANES_I16 = 32
LANES_F32 = 16


class Vector(types.Type):
    """The numba type of a vector: element type and number of lanes."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


_I16 = Vector(types.int16, LANES_I16)
_F32 = Vector(types.float32, LANES_F32)
_I32 = Vector(types.int32, LANES_F32)  # bit patterns of _F32
_U8 = Vector(types.uint8, LANES_U8)
_LLVM = {
    _U8: ir.VectorType(ir.IntType(8), LANES_U8),
    _I16: ir.VectorType(ir.IntType(16), LANES_I16),
    _F32: ir.VectorType(ir.FloatType(), LANES_F32),
    _I32: ir.VectorType(ir.IntType(32), LANES_F32),
}


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Vector) -> None:
        super().__init__(manager, fe_type, _LLVM[fe_type])


@cache
def _sources() -> str:
    """Digest of this package's files."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def kernel(function: Callable) -> Callable:
    """Compile without the GIL and keep the machine code on disk.

    The cache lies where NUMBA_CACHE_DIR says, else beside the source, else (read-only) in the user's cache folder;
    where nothing is writable, in a temporary one.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place for the cache
        config: Any = numba.config
        config.CACHE_DIR = tempfile.mkdtemp(prefix="linksim-numba-")
        compiled = numba.njit(cache=True, **options)(function)
    # numba compares the date of the function's own file only: code inlined from another would go stale unnoticed.
    file: Any = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if hasattr(file, "_source_stamp"):
        file._source_stamp = _sources()
    return compiled


def aligned(size: int, dtype: Any) -> np.ndarray:
    """[size] uninitialised values that start on a cache line."""
    item = np.dtype(dtype).itemsize
    raw = np.empty(size + 64 // item, dtype)
    start = (-raw.ctypes.data % 64) // item
    return raw[start : start + size]


_OF = {types.uint8: _U8, types.int16: _I16, types.float32: _F32, types.int32: _I32}
_BITS_OF = {types.uint8: _U8, types.int16: _I16, types.float32: _I32, types.int32: _I32}


def _address(
    context: Any, builder: Any, array_type: Any, array: Any, index: Any, vector: Vector
) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _LLVM[vector].as_pointer())


def _load(array: types.Array, vector: Vector) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _address(context, builder, array, args[0], args[1], vector)
        return builder.load(pointer, align=vector.dtype.bitwidth // 8)

    return vector(array, types.intp), codegen


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """The vector at array[index:]; array one-dimensional and contiguous, of uint8, int16, int32 or float32."""
    return _load(array, _OF[array.dtype])


@intrinsic
def load_bits(typingctx: Any, array: Any, index: Any) -> Any:
    """The same as integers, float32 as its bit patterns."""
    return _load(array, _BITS_OF[array.dtype])


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a vector to array[index:]."""
    vector = _OF[array.dtype]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _address(context, builder, array, args[0], args[1], vector)
        builder.store(args[2], pointer, align=vector.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


def _splat(typingctx: Any, scalar: Any, vector: Vector) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        llvm = _LLVM[vector]
        one = builder.insert_element(ir.Constant(llvm, ir.Undefined), args[0], ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), llvm.count), None)
        return builder.shuffle_vector(one, ir.Constant(llvm, ir.Undefined), zeros)

    return vector(vector.dtype), codegen


@intrinsic
def splat16(typingctx: Any, scalar: Any) -> Any:
    """The int16 in every lane."""
    return _splat(typingctx, scalar, _I16)


@intrinsic
def splat(typingctx: Any, scalar: Any) -> Any:
    """The float32 in every lane."""
    return _splat(typingctx, scalar, _F32)


@intrinsic
def splat32(typingctx: Any, scalar: Any) -> Any:
    """The int32 in every lane."""
    return _splat(typingctx, scalar, _I32)


def _lanewise(function: Callable) -> Any:
    """Make ``function(builder, *values)``, which emits LLVM code, a lane-wise operation on 1 to 3 vectors.

    The result has the type of the last operand.
    """

    def typed(*operands: Vector) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return function(builder, *args)

        return operands[-1](*operands), codegen

    def one(typingctx: Any, a: Any) -> Any:
        return typed(a)

    def two(typingctx: Any, a: Any, b: Any) -> Any:
        return typed(a, b)

    def three(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
        return typed(a, b, c)

    wrapper = (one, two, three)[function.__code__.co_argcount - 2]
    wrapper.__name__, wrapper.__doc__ = function.__name__, function.__doc__
    return intrinsic(wrapper)


def _call(builder: Any, name: str, *operands: Any) -> Any:
    """Call the LLVM intrinsic ``name`` of the first operand's vector type."""
    vector = operands[0].type
    element = "f32" if isinstance(vector.element, ir.FloatType) else f"i{vector.element.width}"
    signature = ir.FunctionType(vector, [value.type for value in operands])
    function = cgutils.get_or_insert_function(
        builder.module, signature, f"llvm.{name}.v{vector.count}{element}"
    )
    return builder.call(function, operands)


def _negative(builder: Any, a: Any) -> Any:
    return builder.icmp_signed("<", a, ir.Constant(a.type, None))


# ---------------------------------------------------------------------------------------------------- 32 x int16


@_lanewise
def add_sat(builder, a, b):
    """a + b, saturating."""
    return _call(builder, "sadd.sat", a, b)


@_lanewise
def sub_sat(builder, a, b):
    """a - b, saturating."""
    return _call(builder, "ssub.sat", a, b)


@_lanewise
def reduce_by(builder, a, b):
    """max(a - b, 0), unsigned."""
    return _call(builder, "usub.sat", a, b)


@_lanewise
def lower(builder, a, b):
    """The smaller, unsigned."""
    return _call(builder, "umin", a, b)


@_lanewise
def upper(builder, a, b):
    """The larger, unsigned."""
    return _call(builder, "umax", a, b)


@_lanewise
def magnitude(builder, a):
    """|a|; of -32768, as unsigned, 32768."""
    return _call(builder, "abs", a, ir.IntType(1)(0))


@_lanewise
def xor(builder, a, b):
    """Bits of a xor b."""
    return builder.xor(a, b)


@_lanewise
def both(builder, a, b):
    """Bits of a and b."""
    return builder.and_(a, b)


@_lanewise
def either(builder, a, b):
    """Bits of a or b."""
    return builder.or_(a, b)


@_lanewise
def negate_where(builder, sign, a):
    """-a where sign < 0, else a."""
    zero = ir.Constant(a.type, None)
    minus = builder.fneg(a) if isinstance(a.type.element, ir.FloatType) else builder.sub(zero, a)
    return builder.select(_negative(builder, sign), minus, a)


@intrinsic
def where_equal(typingctx: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """``yes`` where a == b, else ``no``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed("==", args[0], args[1]), args[2], args[3])

    return yes(a, b, yes, no), codegen


@intrinsic
def sign_mask(typingctx: Any, a: Any) -> Any:
    """A number with bit l set where lane l of a is negative."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(_negative(builder, args[0]), ir.IntType(args[0].type.count))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(a), codegen


# -------------------------------------------------------------------------------------------------- 16 x float32


@_lanewise
def add(builder, a, b):
    """a + b."""
    return builder.add(a, b) if isinstance(a.type.element, ir.IntType) else builder.fadd(a, b)


@_lanewise
def sub(builder, a, b):
    """a - b."""
    return builder.sub(a, b) if isinstance(a.type.element, ir.IntType) else builder.fsub(a, b)


@_lanewise
def mul(builder, a, b):
    """a b."""
    return builder.fmul(a, b)


@_lanewise
def div(builder, a, b):
    """a / b."""
    return builder.fdiv(a, b)


@_lanewise
def fma(builder, a, b, c):
    """a b + c, in one rounding where the machine can."""
    return _call(builder, "fmuladd", a, b, c)


@_lanewise
def fmin(builder, a, b):
    """The smaller; b where either is NaN."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


@_lanewise
def fmax(builder, a, b):
    """The larger; b where either is NaN."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@_lanewise
def fabs(builder, a):
    """|a|."""
    return _call(builder, "fabs", a)


@_lanewise
def nearest(builder, a):
    """Nearest whole number, as float."""
    return _call(builder, "rint", a)


@intrinsic
def as_bits(typingctx: Any, a: Any) -> Any:
    """The bit patterns of a float vector, as int32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _LLVM[_I32])

    return _I32(a), codegen


@intrinsic
def as_floats(typingctx: Any, a: Any) -> Any:
    """The floats with these bit patterns."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _LLVM[_F32])

    return _F32(a), codegen


@intrinsic
def to_int(typingctx: Any, a: Any) -> Any:
    """float32 -> int32, towards zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fptosi(args[0], _LLVM[_I32])

    return _I32(a), codegen


@intrinsic
def to_float(typingctx: Any, a: Any) -> Any:
    """int32 -> float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sitofp(args[0], _LLVM[_F32])

    return _F32(a), codegen


@intrinsic
def shift_right(typingctx: Any, a: Any, count: Any) -> Any:
    """a >> count, arithmetic; count an int32 vector."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ashr(args[0], args[1])

    return _I32(a, count), codegen


@intrinsic
def shift_left(typingctx: Any, a: Any, count: Any) -> Any:
    """a << count; count an int32 vector."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.shl(args[0], args[1])

    return _I32(a, count), codegen
