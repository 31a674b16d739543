"""Runs Snakemake again and again from an interpreter that has imported it and its libraries.

Half of what a small dry run takes is imports. This process makes them once; each run is a fork of
it, which goes to the folder, reads all code of this project anew and runs what `python -m
snakemake` would. A request is a line of JSON on standard input (`folder`, `arguments`,
`environment`, the `python` that jobs call, and the files `out` and `err` that the run prints to);
the answer is a line with its exit status.
"""

import json
import os
import sys
import traceback

import numpy
import pandas
import pydantic
import snakemake.cli
import xarray
import yaml
import zarr

PRELOADED = (numpy, pandas, pydantic, snakemake, xarray, yaml, zarr)


def run(request: dict) -> int:
    """Run Snakemake in this process, a fork; return its exit status."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for stream, path in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        flags = os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags), stream)
    # Jobs find `python` in its folder.
    sys.executable = request["python"]
    # As for an interpreter that was started there with `-m`.
    sys.path[0] = request["folder"]
    sys.argv = [snakemake.cli.__file__.replace("cli.py", "__main__.py"), *request["arguments"]]
    try:
        snakemake.cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    """Answer requests until standard input ends."""
    own = [name for name in sys.modules if name.split(".")[0] == "gradbrain"]
    assert not own, f"code of this project would not be read anew: {own}"
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = run(json.loads(line))
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, how = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(how), flush=True)


if __name__ == "__main__":
    serve()
