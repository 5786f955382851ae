# Each target sets up what it needs; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
RUN := .venv/bin/python
SOURCES := scoreboard adapters server worker stack harness scoreboard_client scoreboard_cli
LEVELS := setup-run setup-load setup-check
CHECKED := $(wildcard $(SOURCES) loadtests benchmarks tests)

.PHONY: help up down cluster cluster-down token test test-fast test-containers check format load chaos bench bench-compare bench-peers literal results sbom hashes clean setup $(LEVELS)

help: ## list the targets
	@printf 'Scoreboard\n\n'
	@awk -F ':.*## ' -v columns="$$(tput cols 2>/dev/null || echo 80)" ' \
		/^[a-z-]+:.*## / { \
			line = sprintf("  make %-16s", $$1); \
			words = split($$2, word, " "); \
			for (n = 1; n <= words; n++) { \
				if (length(line) + length(word[n]) >= columns && length(line) > 23) { \
					print line; line = sprintf("%23s", ""); \
				} \
				line = line (length(line) > 23 ? " " : "") word[n]; \
			} \
			print line; \
		}' $(MAKEFILE_LIST)
	@printf '\n.venv/bin/scoreboard --help lists the same and more as one\ncommand, whose exit codes make does not change.\n'

setup: ## install everything that is missing (other targets install what they need)
	@scripts/bootstrap.sh dev

$(LEVELS): setup-%:
	@scripts/bootstrap.sh $*

up: setup-load ## run everything until Ctrl-C (PORT=3000)
	@exec $(RUN) -m stack up $(if $(PORT),--port '$(PORT)')

down: ## stop what `make up` runs in another terminal
	@exec $(RUN) -m stack down

cluster: setup-load ## run a deployment on several hosts until Ctrl-C (PORT=3000; root)
	@exec $(RUN) -m harness cluster $(if $(PORT),--port '$(PORT)')

cluster-down: ## end every lab of this machine
	@exec $(RUN) -m harness cluster --down

token: setup-run ## print a token (USER=1, SCOPE=scores:write:any, TTL_S=86400)
	@exec $(RUN) -m stack token --user $(if $(filter command line,$(origin USER)),'$(USER)',1) \
		$(foreach scope,$(SCOPE),--scope '$(scope)') $(if $(TTL_S),--ttl-s '$(TTL_S)')

test: setup ## run all tests, on private services and on containers (ARGS="-k name" for some)
	@exec scripts/test.sh $(ARGS)

test-fast: setup-check ## run unit and workflow tests: no service, no browser, no root (ARGS="-k name")
	@exec scripts/test.sh fast $(ARGS)

test-containers: setup ## run the container tests alone (installs and starts Docker)
	@exec scripts/containers.sh test $(ARGS)

check: setup-check ## run the linter, the format check and the type checker
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: setup-check ## format all files
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

load: setup-load ## run a minute of load, then judge it (USERS, RATE, LISTENERS, DURATION, SLO, SEED, WORKERS)
	@exec $(RUN) -m harness load $(if $(filter command line,$(origin USERS)),--users '$(USERS)') \
		$(if $(RATE),--rate '$(RATE)') $(if $(LISTENERS),--listeners '$(LISTENERS)') \
		$(if $(DURATION),--duration '$(DURATION)') $(if $(SLO),--slo '$(SLO)') \
		$(if $(SEED),--seed '$(SEED)') $(if $(WORKERS),--workers '$(WORKERS)') $(ARGS)

chaos: setup-load ## inject faults under load, then check every guarantee (SEED, SHORT=1, ARGS=--lab)
	@exec $(RUN) -m harness chaos $(if $(SEED),--seed '$(SEED)') $(if $(SHORT),--short) $(ARGS)

bench: setup ## run the benchmarks once; bench-compare judges
	@exec $(RUN) -m harness bench $(ARGS)

bench-compare: setup ## compare this checkout with another revision (BASE=rev)
	@exec $(RUN) -m harness bench-compare --counts $(if $(BASE),--base '$(BASE)') $(ARGS)

results: setup-load ## write RESULTS.md from the newest result files
	@exec $(RUN) -m harness results $(ARGS)

bench-peers: setup ## compare with alternative designs, check the targets (ONLY, ROUNDS)
	@exec $(RUN) -m benchmarks.peers $(if $(ONLY),--only '$(ONLY)',--write RESULTS.md) \
		$(if $(ROUNDS),--rounds '$(ROUNDS)') $(ARGS)

literal: setup ## count the verdicts on honest and lying servers of others (ARGS="--seeds 2")
	@exec $(RUN) -m benchmarks.peers.literal --jobs 4 --write RESULTS.md $(ARGS)

sbom: setup ## list what is shipped with its licences, and write a bill of materials (CycloneDX)
	@exec $(RUN) scripts/sbom.py --extra stack $(ARGS)

hashes: setup-check ## write dist/requirements.txt: every package of the server with its hashes
	@mkdir -p dist
	@.venv/bin/uv pip compile -q --generate-hashes --no-header --no-annotate -c constraints.txt \
		--extra stack --output-file dist/requirements.txt pyproject.toml $(ARGS)
	@echo 'pip install --require-hashes -r dist/requirements.txt' >&2

clean: ## remove all data, logs and installed packages of this checkout
	@if [ -x $(RUN) ]; then $(RUN) -m stack down; fi
	@rm -rf .scoreboard .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks *.egg-info dist \
		clients/python/build clients/python/*.egg-info
