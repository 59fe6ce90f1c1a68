"""How near the judge's requests come to what a server allows: python benchmarks/judge.py [--pairs 6000] [--kill]

A server of its own process on loopback answers after 500 ms over at most 64 connections, refuses any beyond them, and
counts what it is asked. The judge compares N pairs in both orders through the openai backend; the ideal is
2 N x 0.5 s / 64. With --kill a first run is killed (SIGKILL) half-way and started again. Then everything runs once
more, from the store. Prints one JSON object; exit 1 when a call was lost, doubled or repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

LATENCY_SECONDS, CONNECTIONS = 0.5, 64


async def serve() -> None:
    """Answer until killed; /count says how often was asked, of how many questions, over how many connections."""
    n_asked, n_open, most_open, n_refused, questions = 0, 0, 0, 0, set[int]()
    top = [{"token": "A", "logprob": -0.4}, {"token": "B", "logprob": -1.4}]
    choice = {
        "message": {"role": "assistant", "content": "A"},
        "finish_reason": "length",
        "logprobs": {"content": [{"top_logprobs": top}]},
    }
    said = json.dumps({"model": "m", "choices": [choice], "usage": {"prompt_tokens": 300, "completion_tokens": 1}})

    def whole(body: str, status: str = "200 OK") -> bytes:
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return (head + body).encode()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_asked, n_open, most_open, n_refused
        counted = False
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    found = {"asked": n_asked, "questions": len(questions), "most": most_open, "refused": n_refused}
                    found["cpu_seconds"] = round(time.process_time())
                    writer.write(whole(json.dumps(found)))
                    continue
                length = next(
                    int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                )
                body = await reader.readexactly(length)
                if not counted:
                    n_open, counted = n_open + 1, True
                    most_open = max(most_open, n_open)
                if n_open > CONNECTIONS:
                    n_refused += 1
                    writer.write(whole("{}", "429 Too Many Requests"))
                    continue
                n_asked += 1
                questions.add(hash(body))
                await asyncio.sleep(LATENCY_SECONDS)
                writer.write(whole(said))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            n_open -= counted
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=1 << 20, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def run(url: str, work: Path, n_pairs: int) -> None:
    """Judge n pairs of some 1,000 characters an answer; print what it took as JSON."""
    import polars as pl

    from cai.constitution import Comparison, Constitution
    from cai.llm.model import Sampling
    from cai.llm.openai import open_model
    from cai.method.comparing import PLAIN
    from cai.method.judge import judge

    rows = [
        {
            "prompt_id": f"{i:05d}",
            "draw": draw,
            "turns": [{"role": "user", "text": f"question {i}"}],
            "response": f"answer {i} {draw} " * 60,
        }
        for i in range(n_pairs)
        for draw in (0, 1)
    ]
    rules = Constitution((), (Comparison("c", "Choose the kinder answer."),))
    model = open_model(
        "m", root=work, work=work, base_url=url, concurrency=CONNECTIONS, timeout_seconds=30.0, show=lambda *_: None
    )
    started, cpu, waited = time.monotonic(), time.process_time(), waited_seconds()
    verdicts = judge(pl.DataFrame(rows), rules, model, Sampling(0.0, 1.0, 0, 16, 0), PLAIN)
    cpu = time.process_time() - cpu
    found = {
        "seconds": round(time.monotonic() - started, 2),
        "cpu_seconds": round(cpu, 2),
        "cpu_ms_a_call": round(1000 * cpu / model.cost["n_calls"], 2) if model.cost["n_calls"] else None,
        # Seconds in which this process could have run and another one ran: what a quiet machine would have spared it.
        "seconds_waited_for_a_core": round(waited_seconds() - waited, 2),
        "load": round(os.getloadavg()[0], 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "statuses": dict(verdicts["status"].value_counts().iter_rows()),
        "cost": model.cost,
    }
    print(json.dumps(found))


def waited_seconds() -> float:
    """How long this process stood in the queue for a core so far (Linux)."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


def main() -> int:
    """0 when every call was made once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=6000)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--run", nargs=2)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve())
        return 0
    if args.run:
        run(args.run[0], Path(args.run[1]), args.pairs)
        return 0
    own = [sys.executable, str(Path(__file__).resolve())]
    server = subprocess.Popen([*own, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"

    def counted() -> dict[str, int]:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return dict(json.loads(reply.read()))

    n_calls = 2 * args.pairs
    found: dict[str, object] = {"pairs": args.pairs}
    try:
        with tempfile.TemporaryDirectory() as work:
            command = [*own, "--run", url, work, "--pairs", str(args.pairs)]
            in_the_air = 0
            if args.kill:
                killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
                while counted()["asked"] < n_calls // 2 and killed.poll() is None:
                    time.sleep(0.2)
                os.kill(killed.pid, signal.SIGKILL)
                killed.wait()
                n_stored = sum(1 for _ in Path(work).glob("completions/??/*.json")) - 1  # the probe's
                at_kill = counted()["asked"]
                in_the_air = at_kill - 1 - n_stored
                found |= {"asked_before_the_kill": at_kill, "stored_before_the_kill": n_stored}
            first = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            after = counted()
            second = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            again = counted()["asked"] - after["asked"]
    finally:
        server.kill()
        server.wait()
    n_left = n_calls - (0 if not args.kill else int(str(found["stored_before_the_kill"])))
    ideal = n_left * LATENCY_SECONDS / CONNECTIONS
    found |= {
        "first_run": first,
        "second_run": second,
        "server": after,
        "ideal_seconds": round(ideal, 2),
        "share_of_ideal_rate": round(ideal / first["seconds"], 4),
        "asked_by_the_second_run": again,
        # One question is the probe; a killed run's requests in the air were never answered, so they are asked again.
        "asked_twice": after["asked"] - (n_calls + 1) - in_the_air,
    }
    print(json.dumps(found, indent=2))
    right = again == 0 and found["asked_twice"] == 0 and after["questions"] == n_calls + 1 and after["refused"] == 0
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
