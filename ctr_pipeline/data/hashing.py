"""Canonical 64-bit hashes of typed values: the ground under digests, canonical row order and encoder lookups.

The definition is ours, so that it outlives any library (`docs/digests.md` states it with test vectors). Everything is
wrapping arithmetic on unsigned 64-bit integers. For a lane `L` (0 or 1) with its seed `S[L]`:

* ``mix(x)`` is the finaliser of splitmix64 (Steele, Lea, Flood 2014): two xor-shift-multiply rounds.
* null: ``mix(S[L] + TAG_NULL)``.
* boolean, integer, time: ``mix(mix(S[L] + tag) ^ bits)`` over the value as a two's complement 64-bit word; time is in
  microseconds since 1970 UTC, dates are the time at their midnight.
* whole numbers of 2**63 and more, which share their bits with negative ones: the same under a tag of their own.
* real number: the same over the IEEE-754 binary64 bits, where every NaN is one NaN and -0 is 0.
* text and bytes: the bytes (UTF-8) are padded with zeros to little-endian 64-bit words ``w``;
  ``h = mix(S[L] + tag)``, then ``h = mix(h ^ w) + w`` per word, then ``mix(h ^ length)``.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracking.errors import InputError

type U64 = npt.NDArray[np.uint64]
type I64 = npt.NDArray[np.int64]
type Lane = Literal[0, 1]

LANES: Final[tuple[Lane, Lane]] = (0, 1)
LANE_SEEDS: Final = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
TAG_NULL: Final = 1
TAG_BOOLEAN: Final = 2
TAG_INTEGER: Final = 3
TAG_REAL: Final = 4
TAG_TIME: Final = 5
TAG_TEXT: Final = 6
TAG_BYTES: Final = 7
TAG_ROW: Final = 8
TAG_POSITION: Final = 9
TAG_LARGE: Final = 10

_FIRST_LARGE: Final = np.uint64(1 << 63)
_MULTIPLY_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2: Final = np.uint64(0x94D049BB133111EB)
_SHIFT_1: Final = np.uint64(30)
_SHIFT_2: Final = np.uint64(27)
_SHIFT_3: Final = np.uint64(31)
_WORD_MASKS: Final = np.array([(1 << (8 * n)) - 1 for n in range(8)], dtype=np.uint64)
_WORD_BYTES: Final = 8
# Text is worth encoding before it is hashed where a sample of it repeats; the hashes are the same either way.
_SAMPLE_ROWS: Final = 256


def mix64(values: U64) -> U64:
    """Scramble each 64-bit word by splitmix64's finaliser, a bijection.

    Args:
        values: words, any shape.

    Returns:
        Words of the same shape.
    """
    mixed = values >> _SHIFT_1
    mixed ^= values
    mixed *= _MULTIPLY_1
    shifted = mixed >> _SHIFT_2
    mixed ^= shifted
    mixed *= _MULTIPLY_2
    np.right_shift(mixed, _SHIFT_3, out=shifted)
    mixed ^= shifted
    return mixed


@cache
def seed_word(lane: Lane, tag: int) -> np.uint64:
    """Return the word that starts every hash of the type `tag` in `lane`."""
    word = (LANE_SEEDS[lane] + tag) & 0xFFFFFFFFFFFFFFFF
    return np.uint64(mix64(np.array([word], dtype=np.uint64))[0])


def hash_words(words: U64, *, lane: Lane, tag: int) -> U64:
    """Hash values that fit one 64-bit word each.

    Args:
        words: the values' bits, shape (n,).
        lane: which of the two independent hash functions.
        tag: the values' type, one of the `TAG_*`.

    Returns:
        Hashes, shape (n,).
    """
    return mix64(words ^ seed_word(lane, tag))


def hash_text(text: str, *, lane: Lane = 0) -> int:
    """Hash one text; the scalar twin of `hash_array` for names and salts."""
    content = text.encode()
    # Not pa.array: from Python values it imports pandas, which costs a third of a second.
    offsets = pa.py_buffer(np.array([0, len(content)], dtype=np.int32))
    return int(hash_array(pa.StringArray.from_buffers(1, offsets, pa.py_buffer(content)), lane=lane)[0])


def hash_array(array: pa.Array | pa.ChunkedArray, *, lane: Lane = 0) -> U64:
    """Hash each value of an Arrow array by its canonical type and value.

    Integers of any width agree, so do 32- and 64-bit reals, text with any offset width, dictionary-encoded and plain
    values, and times of any unit that microseconds can express.

    Args:
        array: values, length n.
        lane: which of the two independent hash functions.

    Returns:
        Hashes, shape (n,).

    Raises:
        InputError: the type has no canonical form (nested types, decimals, durations).
    """
    if isinstance(array, pa.ChunkedArray):
        type_name(array.type)
        chunks = [hash_array(chunk, lane=lane) for chunk in array.chunks]
        return np.concatenate(chunks) if chunks else np.empty(0, dtype=np.uint64)
    return hash_lanes(array, (lane,))[0]


def hash_lanes(array: pa.Array, lanes: Sequence[Lane] = LANES) -> tuple[U64, ...]:
    """Hash each value once per lane; the lanes share the work of finding the values' bits.

    Args:
        array: values, length n; not chunked.
        lanes: the hash functions wanted.

    Returns:
        Per lane, hashes of shape (n,).

    Raises:
        InputError: as `hash_array`.
    """
    kind = type_name(array.type)
    if pa.types.is_dictionary(array.type):
        return _hash_dictionary(array, lanes)
    if kind == "null":
        return tuple(np.full(len(array), seed_word(lane, TAG_NULL), dtype=np.uint64) for lane in lanes)
    if kind in {"text", "bytes"}:
        encoded = encode_repeated(array)
        if encoded is not None:
            return _hash_dictionary(encoded, lanes)
        hashes = _hash_bytes(array, lanes, TAG_TEXT if kind == "text" else TAG_BYTES)
    else:
        words, tag = _words_of(array, kind)
        hashes = tuple(hash_words(words, lane=lane, tag=tag) for lane in lanes)
        if pa.types.is_uint64(array.type):
            large = words >= _FIRST_LARGE
            for lane, values in zip(lanes, hashes, strict=True):
                values[large] = hash_words(words[large], lane=lane, tag=TAG_LARGE)
    if array.null_count:
        absent = ~validity(array)
        for lane, values in zip(lanes, hashes, strict=True):
            values[absent] = seed_word(lane, TAG_NULL)
    return hashes


def encode_repeated(array: pa.Array) -> pa.DictionaryArray | None:
    """Encode text or bytes by dictionary where a sample says that values repeat; else return None."""
    # Arrow encodes no views.
    is_view = pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type)
    sample = array[:_SAMPLE_ROWS]
    if is_view or len(array) <= _SAMPLE_ROWS or pc.count_distinct(sample).as_py() * 2 > len(sample):
        return None
    return array.dictionary_encode()


def validity(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Return where the array is not null, shape (n,)."""
    valid: npt.NDArray[np.bool_] = pc.is_valid(array).to_numpy(zero_copy_only=False)
    return valid


def type_name(arrow_type: pa.DataType) -> str:
    """Name a type as digests and manifests do: the canonical type, not its storage.

    Returns:
        One of `null`, `boolean`, `integer`, `real`, `time`, `text`, `bytes`.

    Raises:
        InputError: the type has no canonical form.
    """
    if pa.types.is_dictionary(arrow_type):
        return type_name(arrow_type.value_type)
    for name, matches in _TYPES:
        if matches(arrow_type):
            return name
    raise InputError(
        f"column type == {arrow_type}, must be boolean, integer, real, time, text or bytes; "
        "flatten or cast the column before the pipeline reads it"
    )


def canonical_integers(array: pa.Array) -> I64:
    """Return integers, booleans or times as 64-bit words; nulls become 0, times microseconds UTC; perhaps read-only."""
    kind = type_name(array.type)
    if kind == "time":
        array = _microseconds(array)
    elif kind == "boolean":
        array = array.cast(pa.int8())
    if array.null_count:
        array = array.fill_null(0)
    values: npt.NDArray[np.generic] = array.to_numpy(zero_copy_only=False)
    # uint64 of 2**63 and more keeps its bits; `hash_lanes` gives it another tag.
    return values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64, copy=False)


def _words_of(array: pa.Array, kind: str) -> tuple[U64, int]:
    if kind == "real":
        return _real_words(array), TAG_REAL
    tag = {"boolean": TAG_BOOLEAN, "integer": TAG_INTEGER, "time": TAG_TIME}[kind]
    return canonical_integers(array).view(np.uint64), tag


def _real_words(array: pa.Array) -> U64:
    values = array.cast(pa.float64())
    if values.null_count:
        values = values.fill_null(0.0)
    numbers: npt.NDArray[np.float64] = values.to_numpy(zero_copy_only=False) + 0.0  # -0 becomes 0; a copy of our own
    numbers[np.isnan(numbers)] = np.nan
    return numbers.view(np.uint64)


def _hash_dictionary(array: pa.DictionaryArray, lanes: Sequence[Lane]) -> tuple[U64, ...]:
    if len(array.dictionary) > len(array):
        return hash_lanes(array.dictionary_decode(), lanes)
    indices = dictionary_indices(array)
    return tuple(table[indices] for table in dictionary_tables(array.dictionary, lanes))


def dictionary_indices(array: pa.DictionaryArray) -> I64:
    """Return each row's place in `dictionary_tables`; null rows point at the entry behind the last, shape (n,)."""
    indices = array.indices
    if indices.null_count:
        indices = indices.cast(pa.int64()).fill_null(len(array.dictionary))
    places: npt.NDArray[np.integer] = indices.to_numpy(zero_copy_only=False)
    return places.astype(np.int64, copy=False)


def dictionary_tables(dictionary: pa.Array, lanes: Sequence[Lane] = LANES) -> tuple[U64, ...]:
    """Hash a dictionary's values, per lane, with the hash of null as one more entry behind them."""
    hashes = hash_lanes(dictionary, lanes)
    return tuple(np.append(values, seed_word(lane, TAG_NULL)) for lane, values in zip(lanes, hashes, strict=True))


def _hash_bytes(array: pa.Array, lanes: Sequence[Lane], tag: int) -> tuple[U64, ...]:
    offsets, data = _bytes_of(array)
    lengths = np.diff(offsets)
    hashes = tuple(np.full(len(array), seed_word(lane, tag), dtype=np.uint64) for lane in lanes)
    # Eight zero bytes behind the last value let every value be read in whole words.
    padded = np.zeros(len(data) + _WORD_BYTES, dtype=np.uint8)
    padded[: len(data)] = data
    word_at = np.ndarray(shape=(len(data) + 1,), dtype="<u8", buffer=padded, strides=(1,))
    rows = np.flatnonzero(lengths)
    position = 0
    while len(rows):
        words: U64 = word_at[offsets[rows] + position].astype(np.uint64, copy=False)
        remaining = lengths[rows] - position
        short = remaining < _WORD_BYTES
        if short.any():
            words[short] &= _WORD_MASKS[remaining[short]]
        for values in hashes:
            _absorb(values, rows, words)
        position += _WORD_BYTES
        rows = rows[remaining > _WORD_BYTES]
    return tuple(mix64(values ^ lengths.view(np.uint64)) for values in hashes)


def _absorb(hashes: U64, rows: I64, words: U64) -> None:
    if len(rows) == len(hashes):  # every row goes on: no gather, no scatter
        np.add(mix64(hashes ^ words), words, out=hashes)
    else:
        hashes[rows] = mix64(hashes[rows] ^ words) + words


def _bytes_of(array: pa.Array) -> tuple[I64, npt.NDArray[np.uint8]]:
    """Return where each value starts and ends, shape (n + 1,), and the bytes it indexes."""
    wide = pa.large_string() if type_name(array.type) == "text" else pa.large_binary()
    plain = array.cast(wide)
    if plain.null_count:
        plain = plain.fill_null("" if wide == pa.large_string() else b"")
    _, offset_buffer, data_buffer = plain.buffers()
    if offset_buffer is None or not len(plain):
        return np.zeros(len(plain) + 1, dtype=np.int64), np.empty(0, dtype=np.uint8)
    offsets = np.frombuffer(offset_buffer, dtype=np.int64)[plain.offset : plain.offset + len(plain) + 1]
    first = offsets[0]
    data = np.empty(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, dtype=np.uint8)
    return offsets - first, data[first : offsets[-1]]


def _microseconds(array: pa.Array) -> pa.Array:
    # Safe: a time finer than a microsecond is refused rather than rounded in silence.
    try:
        if pa.types.is_date(array.type):
            array = array.cast(pa.timestamp("ms"))
        return array.cast(pa.timestamp("us", tz=getattr(array.type, "tz", None))).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise InputError(
            f"time column of type {array.type} == {error}, must be a whole number of microseconds; round it first"
        ) from error


_TYPES: Final = (
    ("null", pa.types.is_null),
    ("boolean", pa.types.is_boolean),
    ("integer", pa.types.is_integer),
    ("real", pa.types.is_floating),
    ("time", lambda t: pa.types.is_timestamp(t) or pa.types.is_date(t)),
    ("text", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t)),
    ("bytes", lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_binary_view(t)),
)
