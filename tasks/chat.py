"""The chat task: a conversation's last message answered, and the reply stored."""

from __future__ import annotations

from typing import Any

from core.errors import CancelledError, CharlieError
from core.instruct import Message
from core.library import MessageState, StoredMessage
from core.settings import Role
from tasks.jobs import Job
from tasks.tools import Tools, cancelled


def chat_response(tools: Tools, job: Job) -> dict[str, Any]:
    """Answer the last turn that was there when the job was made; the reply is stored under the job's id.

    A reply that is stopped is stored as far as it came, then CancelledError is raised. The replies that it `replaces`
    are deleted once it is stored, and not before: one of which nothing came costs none of them.
    """
    conversation = job.args["conversation"]
    # Ids sort by time: a message written after this job was made is answered by a job of its own.
    replaces = job.args.get("replaces", [])
    turns = [turn for turn in tools.library.messages(conversation) if turn.id < job.id and turn.id not in replaces]
    if not turns:
        raise CharlieError("There is nothing to answer yet.", "Write a message first.")
    sampling = tools.sampling(job)
    system = Message("system", tools.manager.settings.instruct.system_prompt)
    with tools.manager.lease(Role.INSTRUCT, tools.stop.is_set) as model:
        tools.begin(job)
        messages = [system, *(Message(turn.role, turn.text) for turn in turns)]
        text, stats = tools.reply(job, model, messages, sampling, session=conversation)
    stopped = cancelled(stats)
    if text or not (stopped or replaces):
        state = MessageState.COMPLETE
        if stopped:
            state = MessageState.INTERRUPTED if tools.leaving.is_set() else MessageState.CANCELLED
        kept = {key: value for key, value in stats.items() if key != "text"}
        tools.library.put_message(conversation, StoredMessage(job.id, "assistant", text, state=state, stats=kept))
        tools.library.delete_messages(conversation, replaces)
    if stopped:
        raise CancelledError
    return {**stats, "conversation": conversation, "message": job.id}
