"""Reading FreeSurfer's files: MGH volumes of surface data, label tables, surfaces.

An MGH file has a header of 284 bytes, big-endian whatever the machine, then the values, first
dimension fastest; an MGZ file is the same, compressed
(https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

import numpy as np

from gradbrain.datasets.errors import DatasetError, reading

HEADER_BYTES = 284
HEADER_FORMAT = ">6i"
TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2"}
PROBE_VALUES = 4096
#: Behind the values: scan parameters (TR, flip angle, TE, TI and sometimes the field of view), then
#: tags, whose kinds are small numbers.
PARAMETER_BYTES, MOST_TAGS, MOST_TAIL_BYTES = (16, 20), 100, 1 << 20
# Percent signal change, z-scores, labels: nothing measured is larger. Floats read in the wrong
# byte order are spread over all exponents.
PLAUSIBLE = 1e6


@dataclass(frozen=True)
class MghHeader:
    """What the header of an MGH or MGZ file says of its values."""

    path: Path
    shape: tuple[int, int, int, int]
    dtype: np.dtype

    @property
    def n_vertices(self) -> int:
        """Places, of one hemisphere."""
        return int(np.prod(self.shape[:3], dtype=np.int64))

    @property
    def n_frames(self) -> int:
        """Values per place, e.g. trials."""
        return self.shape[3]

    @property
    def n_bytes(self) -> int:
        """Bytes of header and values; optional tags may follow."""
        return HEADER_BYTES + self.n_vertices * self.n_frames * self.dtype.itemsize


def read_header(path: Path) -> MghHeader:
    """Read the header of a file, and nothing else of it.

    Raises
    ------
    DatasetError
        The file is missing, ends within its header, or has no header of this format.
    """
    return _parse_header(path, _first_bytes(path, HEADER_BYTES))


def check_trials(path: Path, *, n_frames: int) -> MghHeader:
    """Read the header of an uncompressed file of float32 values and look at its first ones.

    Cheap: one read of a few kB.

    Parameters
    ----------
    path
        An ``.mgh`` file, (vertices, 1, 1, frames).
    n_frames
        Frames that it must hold.

    Raises
    ------
    DatasetError
        As for :func:`read_header`, or it holds another number of frames, another type, is cut
        short, or its first values cannot be measurements.
    """
    first = _first_bytes(path, HEADER_BYTES + 4 * PROBE_VALUES)
    header = _parse_header(path, first)
    if header.dtype != np.dtype(">f4") or header.shape[1:3] != (1, 1):
        raise DatasetError(
            f"{path}: holds {header.dtype} of shape {header.shape}, expected float32 of shape "
            "(vertices, 1, 1, trials); it is not a file of single-trial betas on a surface"
        )
    _check_frames(header, n_frames)
    found = path.stat().st_size
    if found < header.n_bytes:
        raise DatasetError(
            f"{path}: is cut short: {found} bytes, its header announces {header.n_bytes}; get the "
            "file again"
        )
    with path.open("rb") as file:
        file.seek(header.n_bytes)
        _check_tail(header, file.read(MOST_TAIL_BYTES))
    values = np.frombuffer(
        first[HEADER_BYTES:], dtype=">f4", count=min(PROBE_VALUES, header.n_vertices)
    )
    check_plausible(values, path)
    return header


def _check_frames(header: MghHeader, n_frames: int) -> None:
    if header.n_frames != n_frames:
        raise DatasetError(
            f"{header.path}: holds {header.n_frames} trials, expected {n_frames}; get the file "
            "again"
        )


def check_plausible(values: np.ndarray, path: Path) -> None:
    """Refuse values that no measurement has, as a wrong byte order makes them.

    Raises
    ------
    DatasetError
        A value is infinite or beyond ± 1e6.
    """
    with np.errstate(invalid="ignore"):
        wild = np.abs(values) > PLAUSIBLE
    if wild.any():
        raise DatasetError(
            f"{path}: holds {float(values[wild][0]):.3g}, expected percent signal change (below "
            f"{PLAUSIBLE:.0e}); MGH values are big-endian, these look written in another byte "
            "order: get the file again or convert it"
        )


def read_trials(
    path: Path,
    vertices: np.ndarray,
    *,
    n_frames: int,
    memory: np.ndarray | None = None,
    threads: Executor | None = None,
    parts: int = 1,
) -> np.ndarray:
    """Read some vertices of an uncompressed file, in the order of its bytes.

    A trial at a time is read into a small buffer, of it what encloses the vertices: the memory
    needed is that of the result, and a file is gone through from its start to its end.

    Parameters
    ----------
    path
        An ``.mgh`` file of float32 values, (vertices, 1, 1, frames).
    vertices
        Shape (n,), int. Ascending.
    n_frames
        Frames that the file must hold.
    memory
        Array of uint8, shape (at least 4 · n_frames · n,). Where the result lies; none: memory of
        its own. Fresh memory is cleared by the system, which takes as long as reading into it.
    threads
        Threads that read stretches of trials beside each other; none: this one.
    parts
        Number of stretches.

    Returns
    -------
    ndarray of float32 in the byte order of the file, shape (n_frames, n)

    Raises
    ------
    DatasetError
        The file is no such file or ends too early, or values are such as a wrong byte order makes.
    """
    header = read_header(path)
    last = int(vertices[-1])
    if header.dtype != np.dtype(">f4") or last >= header.n_vertices:
        raise DatasetError(
            f"{path}: holds {header.dtype} of {header.n_vertices} vertices, expected float32 and "
            f"vertex {last}"
        )
    _check_frames(header, n_frames)
    shape = (n_frames, len(vertices))
    trials = np.ndarray(shape, dtype=header.dtype, buffer=memory)
    bounds = np.linspace(0, n_frames, parts + 1).astype(int).tolist()
    together = map if threads is None else threads.map
    read = partial(_read_stretch, header, vertices, trials)
    # Taken to the end, so that an error of any stretch is raised.
    list(together(read, bounds[:-1], bounds[1:]))
    check_plausible(trials[0], path)
    return trials


def _read_stretch(
    header: MghHeader, vertices: np.ndarray, trials: np.ndarray, start: int, stop: int
) -> None:
    """Read the vertices of trials `start` to `stop` into their rows of `trials`."""
    first, last = int(vertices[0]), int(vertices[-1])
    places = vertices - first
    # numpy picks numbers fastest in its own byte order: these are moved as bits.
    span = np.empty(last - first + 1, dtype=np.uint32)
    bits = trials.view(np.uint32)
    gaps = len(span) > len(vertices)
    with header.path.open("rb", buffering=0) as file:
        for trial in range(start, stop):
            row = bits[trial]
            target = span if gaps else row
            file.seek(HEADER_BYTES + 4 * (trial * header.n_vertices + first))
            if file.readinto(target.data) != target.nbytes:
                raise DatasetError(
                    f"{header.path}: is cut short in trial {trial + 1}; get the file again"
                )
            if gaps:
                # The places are within the span: "clip" only spares a copy of the row.
                np.take(span, places, out=row, mode="clip")


def read_vertex_values(path: Path) -> np.ndarray:
    """Read one value per vertex from an MGH or MGZ file.

    Returns
    -------
    ndarray, shape (n_vertices,)
        In the machine's byte order.

    Raises
    ------
    DatasetError
        The file is missing or damaged, or holds several values per vertex.
    """
    header = read_header(path)
    if header.n_frames != 1:
        raise DatasetError(f"{path}: holds {header.n_frames} values per vertex, expected one")
    with reading(path), _open(path) as file:
        # To the end, where what is compressed carries a checksum.
        content = file.read()
    if len(content) < header.n_bytes:
        raise DatasetError(
            f"{path}: is cut short: {len(content)} bytes, its header announces {header.n_bytes}; "
            "get the file again"
        )
    _check_tail(header, content[header.n_bytes :])
    values = np.frombuffer(content[HEADER_BYTES : header.n_bytes], dtype=header.dtype)
    return values.astype(values.dtype.newbyteorder("="))


def _check_tail(header: MghHeader, tail: bytes) -> None:
    """Refuse values that are followed by something else than scan parameters and tags.

    Four or five numbers, then tags that begin with their kind; of a file in which a block is there
    twice, its last values stand there.
    """
    kinds = [tail[place : place + 4] for place in PARAMETER_BYTES]
    tagged = any(len(kind) == 4 and 0 < int.from_bytes(kind) <= MOST_TAGS for kind in kinds)
    if tagged or len(tail) in (0, *PARAMETER_BYTES):
        return
    raise DatasetError(
        f"{header.path}: {len(tail)} bytes stand behind its values that are no scan parameters "
        "and tags; it is damaged, get the file again"
    )


def read_colour_table(path: Path) -> dict[int, str]:
    """Read the names of labels: lines of a number, a name, and colours that are not used.

    Returns
    -------
    dict
        Number -> name, in the order of the file.

    Raises
    ------
    DatasetError
        The file is missing, a line holds no number and name, or one of them is there twice.
    """
    names: dict[int, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) < 2 or not fields[0].lstrip("-").isdigit():
            raise DatasetError(
                f"{path}, line {number}: found {line!r}, expected the number of a label and its "
                "name"
            )
        label = int(fields[0])
        if label in names or fields[1] in names.values():
            raise DatasetError(
                f"{path}, line {number}: found {line!r}, but the label {label} or the name "
                f"{fields[1]!r} is there already; get the file again"
            )
        names[label] = fields[1]
    return names


def read_surface(path: Path) -> np.ndarray:
    """Read the positions of the vertices of a surface.

    Returns
    -------
    ndarray of float64, shape (n_vertices, 3)
        x (right), y (anterior), z (superior) in mm; of fsaverage, MNI305.

    Raises
    ------
    DatasetError
        The file is missing or no surface.
    """
    from nibabel.freesurfer import read_geometry

    with reading(path, "as a FreeSurfer surface"):
        coordinates, faces = read_geometry(path)
        # Behind a block that was lost or is there twice, corners are no vertices.
        if len(faces) and not 0 <= faces.min() <= faces.max() < len(coordinates):
            raise DatasetError(
                f"{path}: its triangles name vertices that it does not have; get the file again"
            )
        if not np.isfinite(coordinates).all():
            raise DatasetError(f"{path}: holds positions that are no numbers; get the file again")
    return np.asarray(coordinates, dtype=np.float64)


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".mgz" else path.open("rb")


def _first_bytes(path: Path, count: int) -> bytes:
    try:
        with _open(path) as file:
            return bytes(file.read(count))
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: is missing") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); get the file again") from error


def _parse_header(path: Path, first: bytes) -> MghHeader:
    if len(first) < HEADER_BYTES:
        raise DatasetError(
            f"{path}: is cut short: {len(first)} bytes, a header alone has {HEADER_BYTES}; get the "
            "file again"
        )
    version, *shape, kind = struct.unpack_from(HEADER_FORMAT, first)
    if version != 1 or kind not in TYPES or min(shape) < 1:
        order = (
            "; the header is little-endian, the format is big-endian: convert it"
            if version == 1 << 24
            else ""
        )
        raise DatasetError(
            f"{path}: is no MGH file: its header says version {version}, shape {tuple(shape)}, "
            f"type {kind}; expected version 1, a type of {sorted(TYPES)}{order}"
        )
    width, height, depth, frames = shape
    return MghHeader(path, (width, height, depth, frames), np.dtype(TYPES[kind]))
