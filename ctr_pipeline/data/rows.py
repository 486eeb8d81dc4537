"""Raw rows with typed access by role: where a logged value becomes a label, a time, a number or a category."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ctr_pipeline.columns import Columns
from ctr_pipeline.data.hashing import U64, canonical_integers, hash_array, type_name, validity
from tracking.errors import InputError

# What spreadsheets, pandas, SQL dumps and Hive write for "no value" in a column of numbers.
NULL_TEXTS: Final = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "\\N")
_EPOCH_UNITS_US: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}
_LARGEST_EXACT: Final = 2.0**53
# What a calendar can show: the years 1 to 9999. A wrong unit of an epoch lies outside.
_FIRST_US: Final = -62_135_596_800_000_000
_LAST_US: Final = 253_402_300_799_999_999
_HOUR_DIGITS: Final = 8
_ZONED: Final = r"[T ].*(Z|[+-]\d\d(:?\d\d)?)$"


@dataclass(frozen=True, slots=True)
class Rows:
    """Raw rows as logged, n of them.

    Attributes:
        table: the logged columns.
        columns: their roles.
    """

    table: pa.Table | pa.RecordBatch
    columns: Columns

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.Array:
        """Return one logged column, shape (n,).

        Raises:
            InputError: there is no such column.
        """
        if name not in self.table.schema.names:
            known = ", ".join(self.table.schema.names)
            raise InputError(f"column {name!r} is missing, must be one of {known}; mend data.columns or the data")
        column = self.table.column(name)
        return _one_array(column) if isinstance(column, pa.ChunkedArray) else column

    def labels(self) -> npt.NDArray[np.uint8]:
        """Return the labels, 0 or 1, shape (n,).

        Raises:
            InputError: a label is missing or neither 0 nor 1.
        """
        name = self.columns.label
        values = number_values(name, self.column(name))
        wrong = ~((values == 0) | (values == 1))
        if wrong.any():
            shown = values[wrong][0]
            raise InputError(
                f"label column {name!r} == {'null' if np.isnan(shown) else shown}, must be 0 or 1 in every row; "
                f"{int(wrong.sum())} rows of this batch are not: drop or mend them"
            )
        return values.astype(np.uint8)

    def times_us(self) -> npt.NDArray[np.int64] | None:
        """Return the impressions' times in microseconds since 1970 UTC, shape (n,); None without a time column.

        Raises:
            InputError: a time is missing or not as `time_format` says.
        """
        name = self.columns.time
        return None if name is None else time_values(name, self.column(name), self.columns.time_format)

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Return a numeric column, missing as NaN, shape (n,)."""
        return number_values(name, self.column(name))

    def texts(self, name: str) -> pa.Array:
        """Return a column's canonical category texts, missing as null, shape (n,)."""
        return category_texts(self.column(name))

    def keys(self, name: str) -> U64:
        """Return the 64-bit keys of a column's categories, shape (n,)."""
        return hash_array(self.texts(name))

    def pinned(self) -> "Rows":
        """Return the rows with every context column at its pinned value, as a model in service sees them."""
        return self.pinned_among(tuple(self.columns.context))

    def pinned_among(self, names: tuple[str, ...]) -> "Rows":
        """Return the rows with those context columns that are among `names` at their pinned values."""
        table = self.table
        for name, context in self.columns.context.items():
            table = _with_constant(table, name, context.pinned) if name in names else table
        return Rows(table, self.columns)


def number_values(name: str, array: pa.Array) -> npt.NDArray[np.float64]:
    """Return a column as binary64 numbers, missing as NaN; text is parsed, correctly rounded.

    Raises:
        InputError: a text is no number.
    """
    kind = type_name(array.type)
    if kind == "text":
        array = _parsed_numbers(name, array)
    elif kind in {"boolean", "integer", "real", "null"}:
        array = _decoded(array).cast(pa.float64(), safe=False)
    else:
        raise InputError(f"column {name!r} is of type {array.type}, must hold numbers; give it another role")
    values: npt.NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
    return values


def time_values(name: str, array: pa.Array, time_format: str) -> npt.NDArray[np.int64]:
    """Return a column of times in microseconds since 1970 UTC, shape (n,).

    Raises:
        InputError: a time is missing, or not as `time_format` says.
    """
    array = _decoded(array)
    if array.null_count:
        raise InputError(f"time column {name!r} has {array.null_count} missing values, must have none; drop them")
    if type_name(array.type) == "time":
        times = canonical_integers(array)
    elif time_format in _EPOCH_UNITS_US:
        times = _epoch_values(name, array, _EPOCH_UNITS_US[time_format])
    elif time_format == "yymmddhh":
        times = canonical_integers(_parsed_times(name, array.cast(pa.string()), _hour_times))
    elif type_name(array.type) != "text":
        raise InputError(
            f"time column {name!r} is of type {array.type} with data.columns.time_format == {time_format!r}, "
            "must be s, ms, us or yymmddhh for numbers; state which"
        )
    else:
        times = canonical_integers(_parsed_times(name, array, _iso_times))
    _check_calendar(name, times, 1)
    return times


def category_texts(array: pa.Array) -> pa.Array:
    """Return categories in their canonical text, whatever type they were logged in.

    Integers are decimal, whole reals are written as integers (pandas makes reals of integers with gaps), other reals
    shortest, booleans `true` and `false`; null and NaN stay null. Dictionary encoding is kept.

    Raises:
        InputError: the type cannot be a category.
    """
    if pa.types.is_dictionary(array.type):
        return pa.DictionaryArray.from_arrays(array.indices, category_texts(array.dictionary))
    kind = type_name(array.type)
    if kind == "text":
        return array
    if kind == "real":
        return _real_texts(array.cast(pa.float64()))
    if kind in {"integer", "boolean", "null"}:
        return array.cast(pa.string())
    if kind == "time":
        return pa.array(canonical_integers(array), mask=~validity(array)).cast(pa.string())
    raise InputError(f"a categorical column is of type {array.type}, must be text, a number or a boolean; convert it")


def rows_from_objects(objects: list[Mapping[str, object]], columns: Columns) -> Rows:
    """Return rows from one mapping per row, as a serving team has them; a name that a row lacks is null there.

    Raises:
        InputError: a column mixes types.
    """
    # Arrow would take the names of the first object alone.
    names = dict.fromkeys(name for item in objects for name in item)
    return Rows(pa.table({name: _object_values(name, [item.get(name) for item in objects]) for name in names}), columns)


def _object_values(name: str, values: list[object]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"column {name!r} mixes types ({error}), must hold one; convert its values") from error


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    # Arrow gives back a chunked array where the chunks' offsets do not fit one.
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _parsed_numbers(name: str, array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        numbers = _parsed_numbers(name, array.dictionary)
        return pa.DictionaryArray.from_arrays(array.indices, numbers).dictionary_decode()
    texts = pc.utf8_trim_whitespace(array)
    texts = pc.if_else(pc.is_in(texts, pa.array(NULL_TEXTS, type=texts.type)), pa.scalar(None, texts.type), texts)
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid as error:
        raise InputError(
            f"column {name!r} has {_first_unparsable(texts)!r}, must be a number; mend it or make it categorical"
        ) from error


def _first_unparsable(texts: pa.Array) -> str:
    for text in texts.drop_null().unique().to_pylist():
        try:
            float(text)
        except ValueError:
            return str(text)
    return "a text that is no decimal number"


def _epoch_values(name: str, array: pa.Array, unit_us: int) -> npt.NDArray[np.int64]:
    whole = _whole_numbers(array)
    if whole is not None:
        _check_calendar(name, whole, unit_us)
        return whole * unit_us
    numbers = number_values(name, array)
    if np.isnan(numbers).any():
        raise InputError(f"time column {name!r} has missing values, must have none; drop them")
    _check_calendar(name, numbers, unit_us)
    return np.floor(numbers * unit_us).astype(np.int64)


def _whole_numbers(array: pa.Array) -> npt.NDArray[np.int64] | None:
    """Return whole numbers exactly; None where there are fractions, which binary64 holds well enough."""
    if type_name(array.type) not in {"text", "integer"}:
        return None
    try:
        return canonical_integers(array.cast(pa.int64()))
    except pa.ArrowInvalid:
        return None


def _check_calendar(name: str, values: npt.NDArray[np.int64] | npt.NDArray[np.float64], unit_us: int) -> None:
    outside = (values < _FIRST_US / unit_us) | (values > _LAST_US / unit_us)
    if outside.any():
        raise InputError(
            f"time column {name!r} has {values[outside][0]}, must lie in the years 1 to 9999; "
            "state data.columns.time_format or mend the value"
        )


def _hour_times(texts: pa.Array) -> pa.Array:
    # Whole numbers lose the zero of the years 2000 to 2009.
    return pc.strptime(pc.utf8_lpad(texts, _HOUR_DIGITS, "0"), "%y%m%d%H", "us")


def _parsed_times(name: str, array: pa.Array, parse: Callable[[pa.Array], pa.Array]) -> pa.Array:
    try:
        return parse(array)
    except pa.ArrowInvalid as error:
        raise InputError(f"time column {name!r}: {error}; state data.columns.time_format or mend the value") from error


def _iso_times(texts: pa.Array) -> pa.Array:
    try:
        return texts.cast(pa.timestamp("us", tz="UTC"))
    except pa.ArrowInvalid:
        zoned = pc.match_substring_regex(texts, _ZONED)
        none = pa.scalar(None, texts.type)
        # Without a zone the text is UTC; a log joined from several sources has both.
        plain = pc.if_else(zoned, none, texts).cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))
        return pc.coalesce(pc.if_else(zoned, texts, none).cast(pa.timestamp("us", tz="UTC")), plain)


def _real_texts(array: pa.Array) -> pa.Array:
    values = array.to_numpy(zero_copy_only=False)
    whole = (values == np.floor(values)) & (np.abs(values) < _LARGEST_EXACT)
    integers = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
    texts = pc.if_else(pa.array(whole), integers, array.cast(pa.string()))
    return pc.if_else(pa.array(np.isnan(values)), pa.scalar(None, pa.string()), texts)


def _with_constant(table: pa.Table | pa.RecordBatch, name: str, value: object) -> pa.Table | pa.RecordBatch:
    constant = pa.array([value] * table.num_rows, type=None if value is not None else pa.null())
    if name in table.schema.names:
        return table.set_column(table.schema.get_field_index(name), name, constant)
    return table.append_column(name, constant)
