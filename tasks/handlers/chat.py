"""Answers the last message of a conversation and stores the reply."""

from __future__ import annotations

from typing import Any

from core.errors import CancelledError, CharlieError
from core.library.records import MessageState, StoredMessage
from core.llama.instruct import Message
from core.roles import Role
from tasks.handlers.context import TaskContext
from tasks.handlers.feel import note_message
from tasks.handlers.reply import cancelled, reply
from tasks.jobs.records import Job


def chat_response(context: TaskContext, job: Job) -> dict[str, Any]:
    """Answer the last turn that existed when the job was made; the reply is stored under the job's id.

    A cancelled reply is stored as far as it came, then CancelledError is raised. The replies that it `replaces`
    are deleted only once it is stored, so an empty reply deletes none.
    """
    conversation = job.args["conversation"]
    # Ids sort by time: a message written after this job has its own job.
    replaces = job.args.get("replaces", [])
    turns = [
        turn for turn in context.conversations.messages(conversation) if turn.id < job.id and turn.id not in replaces
    ]
    if not turns:
        raise CharlieError("There is nothing to answer yet.", "Write a message first.")
    sampling = context.sampling(job)
    system = Message("system", context.manager.settings.instruct.system_prompt)
    with context.manager.lease(Role.INSTRUCT, context.stop.is_set) as model:
        model.restore_ahead(conversation)
        context.begin(job)
        messages = [system, *(Message(turn.role, turn.text, turn.reasoning) for turn in turns)]
        thinking, steady = context.thinking(job), model.spec.bundled
        text, stats = reply(context, job, model, messages, sampling, conversation, thinking, steady=steady)
    if any((turn.stats or {}).get("note") == stats["note"] for turn in turns):
        stats["note"] = ""  # one time in a conversation is enough
    stopped, asked = cancelled(stats), next((turn for turn in reversed(turns) if turn.role == "user"), turns[-1])
    stats["distress"] = note_message(context, conversation, asked, job.id)
    if text or not (stopped or replaces):
        state = MessageState.COMPLETE
        if stopped:
            state = MessageState.INTERRUPTED if context.leaving.is_set() else MessageState.CANCELLED
        kept = {key: value for key, value in stats.items() if key not in ("text", "reasoning")}
        context.conversations.put_message(
            conversation,
            StoredMessage(job.id, "assistant", text, state=state, stats=kept, reasoning=stats["reasoning"]),
        )
        context.conversations.delete_messages(conversation, replaces)
    if stopped:
        raise CancelledError
    return {**stats, "conversation": conversation, "message": job.id}
