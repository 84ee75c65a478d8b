"""A run directory to the Hub: `arena-reward push runs/minilm --repo user/name --base_model user/backbone`.

One commit holds everything, so a repository is never half a model. Large files are uploaded before it and kept by the Hub:
after a lost connection the same command sends only what is missing, and pushing the same run twice changes nothing.

Source: https://huggingface.co/docs/huggingface_hub/guides/upload.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from arena_data.errors import InputError
from reward_model.hub_deadline import limit_hub
from reward_model.publish.staging import PUBLISHED, stage
from reward_model.run_directory.model_card import CardDetails
from reward_model.run_directory.reading import read_run

_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


class PushError(ValueError):
    """A push that the Hub refused or that did not get through; the message is one line and never holds the token."""


def push_run(
    directory: str | os.PathLike[str],
    repo: str,
    *,
    private: bool = False,
    revision: str | None = None,
    base_model: str | None = None,
    details: CardDetails | None = None,
    token: str | None = None,
) -> str:
    """Pushes a run and returns the address of the commit.

    Args:
        directory: a complete run directory.
        repo: `user/name`; made where it is not there.
        private: of a new repository.
        revision: branch, made where it is not there.
        base_model: Hub id of the backbone, where training read it from a directory.
        details: for the model card.
        token: of the Hub; that of `hf auth login` or HF_TOKEN if None.

    Raises: InputError for a run that is not complete, PushError for what the Hub says; one line.
    """
    if not _REPO.fullmatch(repo):
        raise InputError("not a repository", found=repo, expected="user/name")
    limit_hub()
    run = read_run(directory)
    details = details or CardDetails()
    with tempfile.TemporaryDirectory(prefix=".push-", dir=run.directory) as staged, _readable(repo, token):
        for line in stage(run, Path(staged), base_model=base_model, details=details.named(repo)):
            print(f"warning: {line}", file=sys.stderr)
        api = HfApi(token=token)
        api.create_repo(repo, private=private or None, exist_ok=True)
        if revision:
            api.create_branch(repo, branch=revision, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo,
            folder_path=staged,
            revision=revision,
            commit_message=f"Reward model {run.directory.resolve().name}",
            delete_patterns=list(PUBLISHED),  # what an earlier push left and this run has not
        )
    return str(done.commit_url)


@contextlib.contextmanager
def _readable(repo: str, token: str | None) -> Iterator[None]:
    """Turns the client's errors into a line that says what to do."""
    secrets = [secret for secret in (token, get_token()) if secret]
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise PushError("HF_HUB_OFFLINE is set; unset it to push") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            why = "no token is set" if not secrets else f"the Hub refused the token ({status})"
            raise PushError(f"{repo}: {why}; `hf auth login` with one that may write there, or set HF_TOKEN") from None
        raise PushError(f"{repo}: the Hub answered {status}: {_line(error, secrets)}") from None
    except (HTTPError, ConnectionError) as error:
        raise PushError(
            f"{repo}: the connection was lost ({_line(error, secrets)}); give the same command again, what arrived is kept"
        ) from None
    except HFValidationError as error:
        raise PushError(f"{repo}: {_line(error, secrets)}") from None


def _line(error: BaseException, secrets: Sequence[str]) -> str:
    text = " ".join(str(error).split())[:300]
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
