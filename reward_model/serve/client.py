"""Clients for reward functions of TRL: `reward_funcs=RemoteReward("http://127.0.0.1:8000")`, in GRPO and RLOO.

They need the standard library only, so a trainer's environment need hold nothing of this project but this file.

Source: https://huggingface.co/docs/trl/grpo_trainer#using-a-custom-reward-function.
"""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

BUSY = (429, 503)


class RemoteReward:
    """A reward function that asks a server.

    Args:
        url: of the server, such as `http://127.0.0.1:8000`.
        key: its API key; None where it has none.
        seconds: that one request may take.
        attempts: how often a request is sent while the server is busy, starts again or cannot be reached.
        rows: responses of one request; more are sent in several.
    """

    __name__ = "remote_reward"

    def __init__(self, url: str, key: str | None = None, seconds: float = 180.0, attempts: int = 8, rows: int = 256):
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url is {url!r}; expected http://HOST:PORT")
        self.url, self.seconds, self.attempts, self.rows = f"{url.rstrip('/')}/v1/reward", seconds, attempts, rows
        self.headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float]:
        """The reward of each completion; plain texts or lists of messages. What else TRL passes is not read.

        Raises: RuntimeError, one line, for a request that the server refuses or cannot answer.
        """
        rewards: list[float] = []
        for start in range(0, len(prompts), self.rows):
            end = start + self.rows
            rewards += self._ask({"prompts": list(prompts[start:end]), "responses": list(completions[start:end])})
        return rewards

    def _ask(self, body: dict[str, Any]) -> list[float]:
        request = urllib.request.Request(self.url, json.dumps(body).encode(), self.headers)  # noqa: S310  # checked above
        for attempt in range(self.attempts):
            wait = float(min(2**attempt, 30))
            try:
                with urllib.request.urlopen(request, timeout=self.seconds) as response:  # noqa: S310
                    answer = json.load(response)
                return [float(reward) for reward in answer["rewards"]]
            except urllib.error.HTTPError as error:
                why = f"HTTP {error.code}: {_message(error)}"
                if error.code not in BUSY:
                    break
                wait = float(error.headers.get("Retry-After") or wait)
            except OSError as error:
                why = str(error)
            if attempt + 1 < self.attempts:
                time.sleep(wait)
        raise RuntimeError(f"{self.url} gave no rewards ({why})")


class AsyncRemoteReward(RemoteReward):
    """The same for trainers that await reward functions, so that several run at once."""

    __name__ = "async_remote_reward"

    async def __call__(  # type: ignore[override]
        self, prompts: Sequence[Any], completions: Sequence[Any], **_: Any
    ) -> list[float]:
        """As `RemoteReward`, in a thread."""
        return await asyncio.to_thread(super().__call__, prompts, completions)


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
