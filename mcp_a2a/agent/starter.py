"""An agent to start from: replace the skills with yours.

Run it:   mcp-a2a agent run THIS_FILE
Try it:   mcp-a2a send my-agent "hello wide world"
"""

from collections.abc import AsyncIterator

from mcp_a2a import Agent, TaskContext

agent = Agent("my-agent", description="Counts words and greets people")


# The name of the function is the skill's id ("count-words"), the docstring is what others read about it,
# and the type hints say what a task must contain. What the function returns is the answer.
# The default skill takes tasks that name no skill.
@agent.skill(default=True, tags=["text"], examples=["hello wide world"])
def count_words(text: str) -> int:
    """Count the words in a text."""
    return len(text.split())


# A parameter annotated with TaskContext receives the task: task.sender, task.files, task.attempt and more.
@agent.skill
async def greet(text: str, task: TaskContext) -> AsyncIterator[str]:
    """Greet the sender by name, and ask for it if the task does not say it."""
    yield "thinking of a greeting"  # text on the way is progress, which the sender sees at once
    name = text or await task.ask("What is your name?")  # the task waits for the reply
    yield f"Hello {name}!"  # the last text is the answer


# An exception fails the task with its message; `raise mcp_a2a.Reject("…")` declines it.
# Return mcp_a2a.File("report.pdf") to send a file; task.files are the files that came with the task.

if __name__ == "__main__":
    agent.run()
