# Mingjing. The two commands a newcomer needs: `make demo` and `make test`.
# Each step leaves a stamp, so that a second run does only what changed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
WEB := central/web
DATA ?= var
CAMERA ?=
ARGS ?=

# For tests only: independent peers and a browser. The demonstration needs none of them.
APT_PACKAGES := ffmpeg chromium fonts-noto-cjk gstreamer1.0-rtsp python3-gst-1.0 \
	gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly

PIP := $(BIN)/python -m pip --disable-pip-version-check
WEB_SOURCES := $(shell find $(WEB)/src $(WEB)/public $(WEB)/index.html $(WEB)/vite.config.ts \
	$(WEB)/tsconfig.json -type f 2>/dev/null)

.PHONY: help setup demo test check bench screenshots peers apt clean

help:
	@echo 'make demo              run a whole site on this machine (first run sets everything up)'
	@echo '  CAMERA=rtsp://…      with your own camera'
	@echo 'make test              every test, from unit to browser'
	@echo 'make check             format, lint, types, imports'
	@echo 'make bench             measure this machine beside ffmpeg (ARGS=…)'
	@echo 'make screenshots       the pictures of the README, from a running demo'
	@echo 'make setup             only set up'
	@echo 'make clean             remove what setup made; keeps ./var'

setup: $(VENV)/.stamp-python $(WEB)/dist/index.html

$(VENV)/.stamp-venv:
	@echo '== Python environment'
	@command -v $(PYTHON) >/dev/null || { echo 'Python 3.11 is needed: make PYTHON=/path/to/python3.11 …'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo '$(PYTHON) is not Python 3.11'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.stamp-python: $(VENV)/.stamp-venv pyproject.toml constraints.txt
	@echo '== Python packages'
	@$(PIP) install -q -c constraints.txt pip
	@$(PIP) install -q -c constraints.txt -e '.[site]' --group dev
	@touch $@

$(WEB)/node_modules/.stamp: $(WEB)/package.json $(WEB)/package-lock.json
	@echo '== Web packages'
	@command -v npm >/dev/null || { echo 'Node.js 20.19 or newer with npm is needed'; exit 1; }
	@cd $(WEB) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(WEB)/dist/index.html: $(WEB)/node_modules/.stamp $(WEB_SOURCES)
	@echo '== Web pages'
	@cd $(WEB) && npm run --silent build -- --logLevel warn
	@touch $@

peers: $(PEERS)/.stamp
$(PEERS)/.stamp: | $(VENV)/.stamp-venv
	@echo '== Independent peers (own environment)'
	@test -x $(PEERS)/bin/python || $(BIN)/python -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check install -q pyzk==0.9
	@touch $@

apt:
	@missing=(); for package in $(APT_PACKAGES); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing+=($$package); \
	done; \
	if [ $${#missing[@]} -gt 0 ]; then \
		if [ "$$(id -u)" = 0 ]; then \
			echo "== Debian packages: $${missing[*]}"; \
			apt-get update -qq; \
			DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$${missing[@]}" >/dev/null; \
		else \
			echo "The tests need: sudo apt-get install $${missing[*]}"; exit 1; \
		fi; \
	fi

demo: setup
	@CAMERA='$(CAMERA)' $(BIN)/mingjing demo --data '$(DATA)' $(ARGS)

test: setup peers apt check
	@$(BIN)/mingjing models fetch
	@$(BIN)/python -m pytest $(ARGS)

check: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .
	@$(BIN)/lint-imports --no-logo | tail -4
	@$(BIN)/mypy
	@cd $(WEB) && npm run --silent check

bench: setup
	@$(BIN)/mingjing bench record $(ARGS)

screenshots: setup apt
	@$(BIN)/python docs/screenshots.py --data '$(DATA)' $(ARGS)

clean:
	rm -rf $(VENV) $(PEERS) $(WEB)/node_modules $(WEB)/dist
