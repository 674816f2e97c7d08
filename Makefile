# One command for each thing; CONTRIBUTING.md says when to use which. Each works in a fresh clone.
PYTHON ?= python3
VENV := .venv/bin

.PHONY: install check test unit bench ci docs workarounds changelog

install: $(VENV)/pytest  ## the virtual environment, with everything that checks and tests need

$(VENV)/pytest: pyproject.toml
	$(PYTHON) -m venv .venv && $(VENV)/pip install --quiet -e '.[dev]' && touch $@

check: install  ## style, format, types, layers
	$(VENV)/ruff check . && $(VENV)/ruff format --check . && $(VENV)/mypy && $(VENV)/lint-imports

test: install  ## everything; for some of it: make test TESTS=tests/protocol
	$(VENV)/pytest $(TESTS)

unit: install  ## what runs in one process, on another Python where there is one, and how much of the code it covers
	.ci/unit

bench: install  ## what one task costs, and by which modules it goes
	$(VENV)/python benchmarks/walk.py && $(VENV)/python benchmarks/roundtrip.py

ci:  ## what must be green before a change lands: .ci/run, in a fresh virtual environment
	.ci/run

docs: install  ## write anew what pages take from the code: the known answers of docs/protocol.md, the rules about imports
	$(VENV)/python -m tests.protocol.make_vectors && $(VENV)/python -m tests.docs.architecture

workarounds:  ## each work-around for a library, the one to look at first at the top
	@grep -rnoE 'look again [0-9]{4}-[0-9]{2}: .*' mcp_a2a transports --include=*.py \
	  | sed -E 's/^(.*):look again ([0-9-]+): (.*)$$/\2  \1  \3/' | sort

changelog: install  ## what changes/ will say at the next release
	$(VENV)/towncrier build --draft --version next
