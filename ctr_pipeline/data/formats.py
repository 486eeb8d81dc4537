"""File formats of raw impressions: which there are, and how a file's name tells them."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from tracking.errors import InputError

type Kind = Literal["csv", "tsv", "parquet"]
type Compression = Literal["gzip", "zstd"]

EXTENSIONS: Final = ".csv, .tsv, .txt, .parquet or .pq (text also with .gz or .zst behind)"

_KINDS: Final[dict[str, Kind]] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSIONS: Final[dict[str, Compression]] = {".gz": "gzip", ".zst": "zstd"}
_DELIMITERS: Final[dict[Kind, str]] = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True, slots=True)
class DataFormat:
    r"""How the files of one source are to be read.

    Attributes:
        kind: `auto` goes by each file's extension; any other kind holds for every file, whatever it is called.
        delimiter: one character between cells; None means a comma for CSV, a tab for TSV, and for `.txt` a tab where
            the first line holds one.
        header: whether the first line of each text file names the columns.
        column_names: the names where no header does.
    """

    kind: Literal["auto", "csv", "tsv", "parquet"] = "auto"
    delimiter: str | None = None
    header: bool = True
    column_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in {"auto", "csv", "tsv", "parquet"}:
            raise InputError(f"format kind == {self.kind!r}, must be auto, csv, tsv or parquet; mend the data settings")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise InputError(
                f"delimiter == {self.delimiter!r}, must be one character, no quote and no line end; mend the data "
                "settings"
            )
        if self.header == bool(self.column_names):
            rule = "must be empty where a header names the columns" if self.header else "must name every column"
            raise InputError(
                f"column_names == {list(self.column_names)} with header == {self.header}, {rule}; mend the data "
                "settings"
            )


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How one file is to be read.

    Attributes:
        kind: what it holds.
        compression: what its bytes are wrapped in, if anything.
        delimiter: between cells; None where the file's first line decides.
    """

    kind: Kind
    compression: Compression | None = None
    delimiter: str | None = None


def file_format(path: str, fmt: DataFormat) -> FileFormat:
    """Tell one file's format from its name and the settings.

    Args:
        path: the file's name or path.
        fmt: what the settings say.

    Raises:
        InputError: the extension is none that we know, or a Parquet file is compressed as a whole.
    """
    name = PurePosixPath(path)
    compression = _COMPRESSIONS.get(name.suffix.lower())
    extension = PurePosixPath(name.stem).suffix.lower() if compression else name.suffix.lower()
    kind = _KINDS.get(extension) if fmt.kind == "auto" else fmt.kind
    if kind is None:
        raise InputError(
            f"file {path!r} has extension {extension!r}, must be {EXTENSIONS}; move it away, or set the format's kind"
        )
    if kind == "parquet":
        if compression:
            raise InputError(
                f"file {path!r} is a Parquet file inside {compression}, must be plain Parquet, which compresses "
                "itself; "
                "unpack it first"
            )
        return FileFormat(kind)
    sniffed = extension == ".txt" and fmt.kind == "auto"
    return FileFormat(kind, compression, fmt.delimiter or (None if sniffed else _DELIMITERS[kind]))
