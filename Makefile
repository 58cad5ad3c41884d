# Each target that needs an installation makes it: on a fresh machine `make demo` is all there is to type.
SHELL := bash
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint types clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install into .venv (brings uv along if it is missing)
	@scripts/setup

demo: ## Run a crew of three agents on a real local stack (ONCE=1 stops it at the end)
	@scripts/setup model
	@$(BIN)/omium demo $(if $(filter-out 0 no false,$(ONCE)),--once)

test: ## Install and run all tests
	@scripts/setup dev
	$(BIN)/pytest

test-all: ## Run all tests with every case of the exhaustive ones, and the small model
	@scripts/setup dev model
	$(BIN)/pytest --all

lint: ## Style, formatting, import contracts, shell scripts, YAML
	@scripts/setup dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/shellcheck scripts/setup scripts/lock .ci/run

types: ## mypy --strict
	@scripts/setup dev
	$(BIN)/mypy --strict

clean: ## Remove caches; .venv and .omium stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
