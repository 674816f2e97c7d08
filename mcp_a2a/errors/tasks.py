"""Tasks and their files: what does not exist, or cannot be done now."""

from __future__ import annotations

import shlex

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.remedy import Remedy, plain


def _spoken(state: str) -> str:
    """A state as sentences name it: "completed", never as A2A spells it."""
    return state.removeprefix("TASK_STATE_").lower()


class TaskError(McpA2AError, code="task", exit_code=3):
    """The task does not exist or cannot do this now."""


class TaskNotFoundError(TaskError, code="task_not_found", quotes=False):
    """No task has this id (or this prefix of an id)."""

    remedy = Remedy("{Call} {list_tasks} to see the tasks and their ids.")

    def __init__(self, asked: str, matches: int = 0) -> None:
        why = f"matches {matches} tasks" if matches else "was not found among the tasks of this identity"
        super().__init__(f"{asked!r} {why}.")


class TaskForgottenError(TaskNotFoundError, code="task_forgotten", quotes=False):
    """A person has removed what this task said and brought."""

    remedy = Remedy("Its texts, files and result are gone; send a new task.")

    def __init__(self, task_id: str, at: str) -> None:
        TaskError.__init__(self, f"{task_id} was deleted by you at {at}.")


class NotForgettableError(TaskError, code="not_forgettable", quotes=False):
    """A task that is not finished, or whose end its other side does not know yet, is kept."""

    remedy = Remedy("{Call} {get_task_status} to see how it stands, or {cancel_task}.")

    def __init__(self, task_id: str, why: str) -> None:
        super().__init__(f"{task_id} {why}.")

    @staticmethod
    def unfinished(*, sent: bool) -> str:
        """Why a task that goes on is kept, as the end of a sentence."""
        return f"is not finished: {'cancel' if sent else 'answer'} it first"


class TransitionError(TaskError, code="invalid_transition", exit_code=7, quotes=False):
    """A task may not go from its state to the proposed one."""

    remedy = Remedy("{Call} {get_task_status} to see where it stands.")

    def __init__(self, current: str, proposed: str) -> None:
        super().__init__(f"A task that is {_spoken(current)} cannot become {_spoken(proposed)}.")
        self.current = current


class AlreadyEndedError(TransitionError, code="already_ended"):
    """The request of a person comes too late: the task has ended."""

    def __init__(self, state: str, task_id: str) -> None:
        remedy = Remedy("See how it ended: mcp-a2a task {id}", id=task_id[-6:])
        TaskError.__init__(self, f"It is already {state}.", remedy)


class NotSentError(TaskError, code="not_sent", exit_code=5, quotes=False):
    """Only the sender of a task can withdraw it; its recipient answers it."""

    def __init__(self, task_id: str) -> None:
        remedy = Remedy("{decline}", id=task_id[-6:])
        super().__init__(f"{task_id} was sent to you, so it is not yours to cancel.", remedy)


class NothingAskedError(TaskError, code="nothing_asked", exit_code=5):
    """The agent has asked nothing that an answer could belong to."""

    def __init__(self, agent: str, task_id: str, state: str, context_id: str | None) -> None:
        remedy = Remedy(
            'Go on in the same conversation with a new task: mcp-a2a send {agent} "TEXT"{context}',
            agent=shlex.quote(agent),
            context=f" --context {context_id}" if context_id else "",
        )
        super().__init__(f"{agent} has asked nothing: the task is {state}.", remedy)


class LeaseLostError(TaskError, code="lease_lost", exit_code=5, quotes=False):
    """The task was offered to someone else because the answer took too long."""

    says = "{} is no longer yours to answer: its lease ended and it was offered to another worker."
    remedy = Remedy(
        "{Call} {check_inbox} for work that is; answer with status working from time to time to keep a lease."
    )


class SelfSendError(TaskError, code="self_send", exit_code=2, quotes=False):
    """The task is addressed to this very node."""

    says = "{} is this node itself: a task is for another agent."
    remedy = Remedy("{Call} {discover} for the others, or start one with mcp-a2a agent run or agent exec.")


class HopLimitError(TaskError, code="hop_limit", exit_code=5, quotes=False):
    """The work was passed on so often that the chain ends here."""

    says = "This work was passed on {} times and is not passed on again: agents may ask each other in a circle."
    remedy = Remedy("Do it here, or answer the original task with what is known.")


class NotAwaitingReplyError(TaskError, code="not_awaiting_reply", exit_code=5, quotes=False):
    """The task is not one that can be replied to (for example one that we answer ourselves)."""

    def __init__(self, task_id: str, state: str, *, sent: bool = False) -> None:
        super().__init__(
            f"{task_id} is {_spoken(state)} and takes no reply from here.",
            Remedy("You sent it, so its agent answers it. Say more with {reply_to_task}.")
            if sent
            else Remedy("Use {answer_task} for tasks from your inbox, {send_task} for new work."),
        )


class ContextMismatchError(TaskError, code="context_mismatch", exit_code=2, quotes=False):
    """A message names a task and a context that do not belong together (A2A 3.4)."""

    says = "The context of the message is not the context of its task {}."
    remedy = plain("Leave the context out: it follows from the task.")


class ConversationFullError(TaskError, code="conversation_full", exit_code=5, quotes=False):
    """The conversation of a task is as long as it may be."""

    says = "The message was not sent: the conversation of {} has reached its limit."
    remedy = plain("Go on with a new task.")


class KeyReusedError(TaskError, code="key_reused", exit_code=2, quotes=False):
    """A request repeats the idempotency key of another request, so it is no repetition."""

    says = "Nothing was sent: this idempotency key belongs to {}, whose request said something else."
    remedy = plain("Use a new key for a new request; to repeat a request, send exactly the same one.")


class PageTokenError(TaskError, code="page_token", exit_code=2, quotes=False):
    """A list cannot be continued from there."""

    says = "This page token is not from this agent."
    remedy = plain("Use nextPageToken of the previous page, or none.")


class PushNotSupportedError(TaskError, code="push_not_supported", exit_code=5):
    """Push notifications are switched off."""

    says = "This agent does not send push notifications."
    remedy = plain("Follow the task by streaming or polling, or have its owner start it with --a2a-push.")


class PushConfigNotFoundError(TaskError, code="push_config_not_found"):
    """The task has no push configuration with this id."""

    says = "The task has no push notification configuration {!r}."
    remedy = plain("List those of the task.")


class FileError(McpA2AError, code="file", exit_code=2):
    """A file cannot be attached, sent, or stored here; the message says why."""


class NoFilesError(FileError, code="no_files", quotes=False):
    """The files of a task are asked for, and it brought none."""

    says = "{} has no files."
    remedy = Remedy("{Call} {get_task_status} to see what the task brought.")
