"""Stages in processes forked from one that has imported their libraries: dvc starts dozens, and each would spend seconds.

What a clone's dvc finds as `python` is then a script (SCRIPT) that hands its command, folder, environment and streams
to that process and ends as the fork ends. A fork reads all code of the project anew, from the clone. Stages as a user
starts them, each in an interpreter of its own, run in test_kill.py, in test_bare.py and in the slow tests.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# -S and -E: what it needs is built in, and `site` takes as long as all the rest.
SCRIPT = """#!{python} -SE
import array, json, os, socket, sys
if sys.argv[1:2] != ["-m"] or not sys.argv[2].startswith(("stages.", "tests.")):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
asked = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode() + b"\\n"
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    server.sendmsg([asked[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    server.sendall(asked[1:])
    status = server.recv(8)
sys.exit(int(status or 70))
"""


def started(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """The process, until its stdin is closed; ``folder/python`` asks it, ``environment`` is what its libraries read once."""
    address = Path(tempfile.mkdtemp(prefix="warm-")) / "server"  # such a path must be short
    script = folder / "python"
    script.write_text(SCRIPT.format(python=sys.executable, address=str(address)), encoding="utf-8")
    script.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()  # who asks while the libraries are imported, waits
        command = [sys.executable, __file__, str(listener.fileno())]
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])


def _imported() -> None:
    """What stages import besides their own code, which is forgotten again."""
    gc.disable()
    sys.path.insert(0, str(ROOT))
    for name in ("cai.llm.hf", "cai.training.sft", "cai.training.dpo", "stages.clean"):
        importlib.import_module(name)
    importlib.import_module("cai.quality.checking.expectations").great_expectations()
    for name in [name for name in sys.modules if name.split(".")[0] in ("cai", "stages")]:
        del sys.modules[name]
    sys.path.remove(str(ROOT))
    gc.collect()
    gc.enable()
    gc.freeze()  # or every fork's collector walks through all of it, and so copies its pages


def _serve(listener: socket.socket) -> None:
    """Answer until stdin ends: with the process that started this one."""
    _imported()
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                listener.close()
                _keep(connection)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    Path(listener.getsockname()).unlink()
    Path(listener.getsockname()).parent.rmdir()


def _keep(connection: socket.socket) -> None:
    """Fork the stage, wait for its end, however it comes, and tell it."""
    asked, streams, _, _ = socket.recv_fds(connection, 1, 3)
    while not asked.endswith(b"\n"):
        asked += connection.recv(1 << 16)
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        connection.sendall(str(status if status >= 0 else 128 - status).encode())
        os._exit(0)
    connection.close()
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
    (module, *arguments), folder, environment = json.loads(asked)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder  # as `python -m` does
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the interpreter's own end would free all that was inherited, object by object: seconds


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
