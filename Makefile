PYTHON ?= python3

.PHONY: test

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -e ".[cpu,train,dev]"
	touch $@

test: .venv/ready  ## installs what it needs and runs every test
	.venv/bin/python -m pytest -q
