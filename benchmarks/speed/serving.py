"""How fast a server gives rewards to many clients, side by side:
`python -m benchmarks.speed.serving --model models/minilm --input F`.

Each client sends one pair of responses to a prompt, waits for the rewards, and sends the next. All servers have the same
weights, dtype, threads and max_length, and run one after the other; clients run on the same machine.

| server | what it is |
| --- | --- |
| ours | `arena-reward serve` |
| pipeline | a FastAPI handler that calls a Transformers pipeline for each request |
| cross_encoder | the same with sentence-transformers' CrossEncoder |

Wrong: our answers that are not within 1e-5 of offline scoring of the same texts; for the others, scores that are not finite.
Memory is that of the server and its processes, after a tenth of the time and at the end.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

SYSTEMS = ("ours", "pipeline", "cross_encoder")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory or Hub id of a backbone; its head is made up")
    parser.add_argument("--input", required=True, help="battles")
    parser.add_argument("--battles", type=int, default=200, help="how many, spread over the file")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--max_length", type=int, default=512)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each server")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--output_dir", default="runs/serving_benchmark", help="where the run directory is made")
    parser.add_argument("--batch_size", type=int, default=8, help=argparse.SUPPRESS)
    parser.add_argument("--cross_encoder_batch_size", type=int, default=32, help=argparse.SUPPRESS)
    parser.add_argument("--one", choices=SYSTEMS, help=argparse.SUPPRESS)
    return parser.parse_args()


@dataclass
class Load:
    """What the clients saw. seconds: of each request."""

    seconds: list[float] = field(default_factory=list)
    lost: int = 0
    wrong: int = 0


def main() -> None:
    options = arguments()
    if options.one:
        serve_peer(options)
        return
    from benchmarks.speed.prediction_systems import chosen_battles, make_run
    from reward_model.api import RewardModel

    make_run(options)
    battles = [(row["prompt"], row["response_a"], row["response_b"]) for row in chosen_battles(options)]
    model = RewardModel.from_pretrained(options.output_dir, dtype=options.dtype)
    prompts, first, second = ([row[side] for row in battles] for side in range(3))
    expected = np.stack([model.reward(prompts, first), model.reward(prompts, second)], axis=1)
    bodies = [json.dumps({"prompts": [p, p], "responses": [a, b]}).encode() for p, a, b in battles]
    print("| server | pairs/s | p50 ms | p99 ms | requests | lost | wrong | memory MB |\n" + "| --- " * 8 + "|")
    for system in options.systems:
        print(measured(options, system, bodies, expected if system == "ours" else None), flush=True)


def measured(options: argparse.Namespace, system: str, bodies: list[bytes], expected: np.ndarray | None) -> str:
    """A row of the table."""
    own = ["-m", "reward_model", "serve", options.output_dir, "--port", "0", "--dtype", options.dtype, "--offline"]
    peer = ["-m", "benchmarks.speed.serving", *sys.argv[1:], "--one", system]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    server = subprocess.Popen(
        [sys.executable, *(own if system == "ours" else peer)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().split()[0].rpartition(":")[2])
        load, memory = Load(), [0.0, 0.0]
        ends = time.perf_counter() + options.seconds
        clients = [
            threading.Thread(target=ask, args=(port, bodies, expected, number, ends, load))
            for number in range(options.clients)
        ]
        for client in clients:
            client.start()
        time.sleep(options.seconds / 10)
        memory[0] = memory_of(server.pid)
        time.sleep(max(0.0, ends - time.perf_counter()))
        memory[1] = memory_of(server.pid)
        for client in clients:
            client.join()
    finally:
        server.terminate()
        server.wait(60)
    p50, p99 = np.percentile([1000 * seconds for seconds in load.seconds], [50, 99])
    rate = len(load.seconds) / options.seconds
    figures = f"{rate:.1f} | {p50:.0f} | {p99:.0f} | {len(load.seconds)} | {load.lost} | {load.wrong}"
    return f"| {system} | {figures} | {memory[0]:.0f} → {memory[1]:.0f} |"


def ask(port: int, bodies: list[bytes], expected: np.ndarray | None, number: int, ends: float, load: Load) -> None:
    """One client, until time is up. Lists take an append from several threads; each counts on its own otherwise."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    place, lost, wrong = number, 0, 0
    while time.perf_counter() < ends:
        place = (place + 7) % len(bodies)
        started = time.perf_counter()
        try:
            connection.request("POST", "/v1/reward", bodies[place], {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
            rewards = np.array(answer["rewards"], dtype=np.float64)
        except (OSError, ValueError, KeyError, http.client.HTTPException):
            lost += 1
            connection.close()
            continue
        load.seconds.append(time.perf_counter() - started)
        is_right = np.isfinite(rewards).all() if expected is None else np.allclose(rewards, expected[place], 0, 1e-5)
        wrong += not is_right
    connection.close()
    with LOCK:
        load.lost += lost
        load.wrong += wrong


LOCK = threading.Lock()


def memory_of(pid: int) -> float:
    """MB that a process and its children hold."""
    root = psutil.Process(pid)
    return sum(process.memory_info().rss for process in [root, *root.children(recursive=True)]) / 1e6


def serve_peer(options: argparse.Namespace) -> None:
    """FastAPI as most write it: a handler in a thread of the pool calls the library."""
    import asyncio

    import torch
    import uvicorn
    from fastapi import FastAPI

    from benchmarks.speed import prediction_systems

    torch.set_num_threads(options.threads)
    score: Any = prediction_systems.SYSTEMS[options.one](options)
    app = FastAPI()

    @app.post("/v1/reward")
    def reward(request: dict[str, Any]) -> dict[str, list[float]]:
        row = {
            "prompt": request["prompts"][0],
            **dict(zip(("response_a", "response_b"), request["responses"], strict=True)),
        }
        return {"rewards": [float(score) for score in score([row])[0]]}

    async def run() -> None:
        server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="error"))
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.02)
        print(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", flush=True)
        await task

    asyncio.run(run())


if __name__ == "__main__":
    main()
