"""Runs scripts of jobs as forks of an interpreter that has imported their libraries.

Of a job of a small study more than half is imports. This process makes them once. It writes a
program `python` into a folder; a job that calls it by that name is a fork of this process, with the
folder, environment, files and standing of its caller, and with all code of this project read anew.
Whatever is not a script of `scripts/` is run by Python itself, and so is each job whose environment
changes how Python starts.
"""

from __future__ import annotations

import array
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
from pathlib import Path

#: Variables that change how an interpreter starts, or what libraries do when they are imported.
OF_THE_START = ("PYTHON", "SCIPY_ARRAY_API", "MALLOC_", "LD_", "MPL", "TORCH")
START = {name: value for name, value in os.environ.items() if name.startswith(OF_THE_START)}
# Threads of BLAS are counted when it is imported.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import matplotlib.pyplot
import numpy
import pandas
import pydantic
import scipy.linalg
import scipy.stats
import sklearn.linear_model
import timm
import torch
import xarray
import yaml
import zarr

PRELOADED = (
    *(matplotlib, numpy, pandas, pydantic, scipy, sklearn),
    *(timm, torch, xarray, yaml, zarr),
)

CALLER = """#!{python} -SEs
import array, json, os, signal, socket, sys
arguments = sys.argv[1:]
start = {{name: value for name, value in os.environ.items() if name.startswith({of_the_start!r})}}
if start != {start!r} or not (arguments and arguments[0].startswith("scripts/")):
    os.execv({python!r}, [{python!r}, *arguments])
place = socket.socket(socket.AF_UNIX)
place.connect({address!r})
request = {{"folder": os.getcwd(), "arguments": arguments, "environment": dict(os.environ)}}
place.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
answers = place.makefile("rw")
answers.write(json.dumps(request) + "\\n")
answers.flush()
child = int(answers.readline())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: os.kill(child, number))
status = answers.readline()
if not status:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(status))
"""


def run(request: dict) -> int:
    """Run a script in this process, a fork; return its exit status."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    sys.argv = request["arguments"]
    # As for an interpreter that was started with this script.
    sys.path[0] = str(Path(request["folder"], sys.argv[0]).parent)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def answer(caller: socket.socket) -> None:
    """Take the place of a caller: be what it would have started."""
    _, rights, *_ = caller.recvmsg(1, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    files = array.array("i", rights[0][2])
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    lines = caller.makefile("rw")
    request = json.loads(lines.readline())
    lines.write(f"{os.getpid()}\n")
    lines.flush()

    def watch() -> None:
        # A caller that was killed says nothing more.
        if not caller.recv(1):
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    status = run(request)
    sys.stdout.flush()
    sys.stderr.flush()
    lines.write(f"{status}\n")
    lines.flush()
    os._exit(status)


def serve(folder: Path) -> None:
    """Write the program, then fork for every caller."""
    own = [name for name in sys.modules if name.split(".")[0] == "gradbrain"]
    assert not own, f"code of this project would not be read anew: {own}"
    address = str(folder / "callers")
    place = socket.socket(socket.AF_UNIX)
    place.bind(address)
    place.listen(64)
    program = folder / "python"
    program.write_text(
        CALLER.format(
            python=sys.executable, address=address, of_the_start=OF_THE_START, start=START
        )
    )
    program.chmod(0o755)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([place, sys.stdin], [], [])
        if sys.stdin in ready:  # whoever started this process is gone
            return
        caller, _ = place.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            place.close()
            try:
                answer(caller)
            finally:
                os._exit(1)
        caller.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
