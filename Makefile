PYTHON ?= python3
PORT ?= 8000
# test processes: one for each core, four at most, because some of them need 4 GB
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 4 ? cores : 4)))
VENV := .venv

.PHONY: demo test lint proto clean

demo: $(VENV)/demo  ## serve the demo bundle on 127.0.0.1:8000
	scripts/demo.sh $(VENV)/bin/resight $(PORT)

# files in the order of collection, which tests/longest_first.py decides
test: $(VENV)/dev lint  ## install what is needed and run every check that needs no GPU
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

proto: $(VENV)/dev  ## generate the gRPC code
	PYTHON=$(VENV)/bin/python scripts/proto.sh

clean:
	rm -rf $(VENV) demo-data

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: $(VENV)/bin/python pyproject.toml
	scripts/install.sh $(VENV)/bin/python cpu,train
	touch $@

$(VENV)/dev: $(VENV)/bin/python pyproject.toml
	scripts/install.sh $(VENV)/bin/python cpu,train,synthetic,dev,video,postgres,parquet,heif
	touch $@
