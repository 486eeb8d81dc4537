"""A team's own functions, named in the settings as `module:function`, loaded from the code beside the config."""

import importlib
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

from tracking.errors import InputError

type BatchFunction = Callable[[pa.RecordBatch], pa.RecordBatch]


SETTING: Final = "features.custom"


def load_function(what: str, name: str) -> Callable[..., Any]:
    """Import a function by its `module:function` name.

    Args:
        what: what the function is for, to begin an error with.
        name: `module:function`.

    Raises:
        InputError: there is no such module or function, or the module fails while it is imported.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise InputError(f"{what} == {name!r}, must be module:function; name both")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a team's own code may raise anything; the user gets one line all the same
        told = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f"{what} == {name!r}, its module must be importable ({' '.join(told.split())}); "
            "run from the folder that holds it"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"{what} == {name!r}, must name a function of {module_name}; define it there")
    return function  # type: ignore[no-any-return] # any callable: its use checks what it returns


def apply_custom(name: str, table: pa.Table | pa.RecordBatch, label: str) -> pa.Table | pa.RecordBatch:
    """Apply the function `name` to raw rows.

    Args:
        name: `module:function`; takes a record batch of the raw columns and returns one with as many rows.
        table: n raw rows.
        label: the label's column, hidden from the function so that a feature cannot be made of it.

    Raises:
        InputError: the function raises, or returns anything but a record batch of n rows without the label.
    """
    labels = table.column(label) if label in table.schema.names else None
    hidden = table.drop_columns([label]) if labels is not None else table
    result = _called(name, load_function(SETTING, name), _one_batch(hidden))
    if result.num_rows != table.num_rows:
        raise InputError(f"{name} returned {result.num_rows} rows for {table.num_rows}, must return as many, in order")
    if label in result.schema.names:
        raise InputError(f"{name} returned the label column {label!r}, must not; drop it from the batch")
    result = pa.Table.from_batches([result])
    return result if labels is None else result.append_column(label, labels)


def _called(name: str, function: BatchFunction, batch: pa.RecordBatch) -> pa.RecordBatch:
    try:
        result = function(batch)
    except Exception as error:
        raise InputError(f"{name} failed on a batch of {batch.num_rows} rows: {error!r}; mend the function") from error
    if not isinstance(result, pa.RecordBatch):
        raise InputError(f"{name} returned a {type(result).__name__}, must return a pyarrow.RecordBatch")
    return result


def _one_batch(table: pa.Table | pa.RecordBatch) -> pa.RecordBatch:
    if isinstance(table, pa.RecordBatch):
        return table
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
