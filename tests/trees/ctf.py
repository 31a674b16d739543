"""Writes CTF recordings (``.ds`` folders) that mne reads, for trees of data sets.

Offsets and types of the ``.res4`` and ``.meg4`` files follow "CTF MEG File Formats" (CTF Systems,
PN900-0088): big-endian; a general header of 1844 bytes; filters; names of 32 bytes; a record per
channel; balancing coefficients. Data are 32-bit integers, channel after channel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

REFERENCE, MEG_SENSOR, STIM_CHANNEL = 0, 5, 11
#: Third-order gradient, "G3BR" in four characters.
THIRD_ORDER = int.from_bytes(b"G3BR")
#: Counts per tesla; a trigger's count is its value.
COUNTS = 1e18
GENERAL_HEADER = 1844
COIL = np.dtype(
    [
        ("position", ">f8", 3),
        ("", ">f8"),
        ("orientation", ">f8", 3),
        ("", ">f8"),
        ("turns", ">i2"),
        ("", ">i4"),
        ("", ">i2"),
        ("area", ">f8"),
    ]
)
CHANNEL = np.dtype(
    [
        ("type", ">i2"),
        ("original_run", ">i2"),
        ("coil_shape", ">i4"),
        ("proper_gain", ">f8"),
        ("q_gain", ">f8"),
        ("io_gain", ">f8"),
        ("io_offset", ">f8"),
        ("n_coils", ">i2"),
        ("gradient_order", ">i2"),
        ("", ">i4"),
        ("coil", COIL, 8),
        ("head_coil", COIL, 8),
    ]
)
BALANCING = np.dtype(
    [
        ("sensor", "S32"),
        ("kind", ">i4"),
        ("", ">i4"),
        ("n", ">i2"),
        ("references", "S31", 50),
        ("coefficients", ">f8", 50),
    ]
)


def write_ctf(
    path: Path, names: list[str], data: np.ndarray, trigger: np.ndarray, *, sfreq: float
) -> None:
    """Write one continuous recording.

    Parameters
    ----------
    path
        Folder that ends in ``.ds``.
    names
        Gradiometers, with the helmet's number: ``MLO11-1609``.
    data
        Shape (n_sensors, n_samples). Tesla.
    trigger
        Shape (n_samples,), int. Channel UPPT001.
    sfreq
        Samples per second.
    """
    path.mkdir(parents=True)
    stem = path.name.removesuffix(".ds")
    channels = [*names, "BG1-1609", "UPPT001"]
    silent = np.zeros((1, data.shape[1]))
    counts = np.concatenate([np.round(data * COUNTS), silent, trigger[None]]).astype(">i4")
    header = bytearray(GENERAL_HEADER)

    def put(offset: int, value: float, kind: str) -> None:
        raw = np.array(value, dtype=kind).tobytes()
        header[offset : offset + len(raw)] = raw

    header[0:8] = b"MEG42RS\x00"
    header[778:786] = b"12:00:00"
    header[1033:1043] = b"13/06/2019"
    put(1288, counts.shape[1], ">i4")
    put(1292, len(channels), ">i2")
    put(1296, sfreq, ">f8")
    put(1304, counts.shape[1] / sfreq, ">f8")
    put(1312, 1, ">i2")
    records = np.zeros(len(channels), dtype=CHANNEL)
    records["type"] = MEG_SENSOR
    records["type"][-2:] = REFERENCE, STIM_CHANNEL
    records["proper_gain"] = 1.0
    records["q_gain"] = COUNTS
    records["q_gain"][-1] = 1.0
    records["n_coils"] = 2
    records["coil"]["position"][:, 0] = [5.0, 0.0, 20.0]
    records["coil"]["position"][:, 1] = [6.0, 0.0, 24.0]
    records["coil"]["orientation"][:, :2] = [0.0, 0.6, 0.8]
    encoded = b"".join(name.encode().ljust(32, b"\x00") for name in channels)
    balancing = np.zeros(len(names), dtype=BALANCING)
    balancing["sensor"] = [name.encode() for name in names]
    balancing["kind"], balancing["n"] = THIRD_ORDER, 1
    balancing["references"][:, 0] = b"BG1-1609"
    n_filters, n_balancing = (np.array(n, dtype=">i2").tobytes() for n in (0, len(names)))
    (path / f"{stem}.res4").write_bytes(
        bytes(header) + n_filters + encoded + records.tobytes() + n_balancing + balancing.tobytes()
    )
    (path / f"{stem}.meg4").write_bytes(b"MEG41CP\x00" + counts.tobytes())
