# `make` lists what there is. The checks of a change are all in .ci/run (`make ci`).

.DEFAULT_GOAL := help
SHELL := /bin/bash

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)
PKG     ?= ./...
TIME    ?= 10s
ARGS    ?= serve
ROUNDS  ?= 3
SEED    ?= 0
FAULT   ?= .
FOR     ?= 30m

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/sluice, with VERSION stamped in (by default git describe)
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/sluice ./cmd/sluice

.PHONY: run
run: ## build and run: make run ARGS="serve --listen :8080"
	go run -ldflags '$(LDFLAGS)' ./cmd/sluice $(ARGS)

.PHONY: test
test: ## test with nothing but Go; what needs a real server is skipped (PKG=./... by default)
	go test $(PKG)

.PHONY: test-real
test-real: ## test with the race detector on real Kafka and Redis: needs redis-server, kcat, Java 17, Maven, Python and npm
	libs="$$(.ci/kafka-libs)" && examples="$$(.ci/examples)" && \
	SLUICE_TEST_KAFKA_LIBS="$$libs" SLUICE_TEST_EXAMPLES="$$examples" SLUICE_TEST_REQUIRE_SERVERS=1 go test -race -count=1 -timeout 20m -p 1 $(PKG)

.PHONY: chaos
chaos: ## kill, freeze and restart everything under load and print a table (ROUNDS=3; SEED and FAULT choose: docs/faults.md)
	libs="$$(.ci/kafka-libs)" && \
	SLUICE_TEST_KAFKA_LIBS="$$libs" SLUICE_TEST_REQUIRE_SERVERS=1 go test ./cmd/sluice -count=1 -v -timeout $$((30 * $(ROUNDS)))m \
	  -run 'TestChaos$$/./$(FAULT)' -chaos.rounds=$(ROUNDS) -chaos.seed=$(SEED)

.PHONY: kafka-libs
kafka-libs: ## fetch Kafka's jars for tests and print their folder, for SLUICE_TEST_KAFKA_LIBS
	@.ci/kafka-libs

.PHONY: lint
lint: ## run the linters of .golangci.yml and prove the import arrows (builds the linter once)
	"$$(.ci/tool golangci-lint)" run $(PKG)
	.ci/arrows

.PHONY: fmt
fmt: ## format the code
	"$$(.ci/tool golangci-lint)" fmt

.PHONY: fuzz
fuzz: ## run every fuzz target for TIME each (10s by default)
	.ci/fuzz $(TIME)

.PHONY: microbench
microbench: ## run the benchmarks of single functions, in PKG
	go test -run '^$$' -bench . -benchmem $(PKG)

.PHONY: bench
bench: ## measure sluice and its peers in turns, about 20 minutes: needs what test-real needs (internal/bench/README.md)
	mkdir -p bin && libs="$$(.ci/kafka-libs)" && cd internal/bench && SLUICE_TEST_KAFKA_LIBS="$$libs" go run . compare -dir "$(CURDIR)/bin"

.PHONY: bench-quick
bench-quick: ## the same in three minutes, and rough
	libs="$$(.ci/kafka-libs)" && cd internal/bench && SLUICE_TEST_KAFKA_LIBS="$$libs" \
	  go run . compare -conns 256 -rounds 2 -duration 3s -warmup 10s -open 5s

.PHONY: bench-limits
bench-limits: ## bursts, large bodies, Kafka away, quick starts, in five minutes (ONLY=burst,down chooses: internal/bench/README.md)
	libs="$$(.ci/kafka-libs)" && cd internal/bench && SLUICE_TEST_KAFKA_LIBS="$$libs" go run . limits $(if $(ONLY),-only $(ONLY))

.PHONY: bench-soak
bench-soak: ## load it steadily for FOR (30m by default) and look for growth
	libs="$$(.ci/kafka-libs)" && cd internal/bench && SLUICE_TEST_KAFKA_LIBS="$$libs" go run . soak -for $(FOR)

.PHONY: docs
docs: ## write the generated pages and golden files anew
	go test $$(grep -rlE --include='*_test.go' 'flag\.Bool\("update"' . | xargs -n 1 dirname | sort -u) -update

.PHONY: ci
ci: ## run everything that a change must pass (installs Debian packages)
	bash .ci/run

# Only import paths change: a Go file's import lines, the examples in Markdown, the linter's rules.
.PHONY: module
module: ## give the module the name it is hosted by: make module NAME=github.com/acme/sluice
	@test -n "$(NAME)" || { echo 'usage: make module NAME=github.com/acme/sluice' >&2; exit 2; }
	@set -euo pipefail; old="$$(go list -m)"; \
	find . -path ./.git -prune -o -path '*/node_modules' -prune -o -type f \( -name '*.go' -o -name '*.md' \) -print0 | xargs -0 \
	  sed -E -i.before "s#^([[:space:]]+|import )([A-Za-z0-9_.]+ )?\"$$old(/[^\"]*)?\"( //.*)?\$$#\1\2\"$(NAME)\3\"\4#"; \
	sed -E -i.before "s#(pkg: |allow: \[|module-path: )$$old(/|,|\$$)#\1$(NAME)\2#" .golangci.yml; \
	find . -name '*.before' -not -path './.git/*' -delete; \
	go mod edit -module "$(NAME)"; \
	cd internal/bench; version="$$(go list -m -f '{{.Version}}' "$$old")"; \
	go mod edit -module "$(NAME)/internal/bench" -droprequire "$$old" -dropreplace "$$old" \
	  -require "$(NAME)@$$version" -replace "$(NAME)=../.."; \
	echo "module $$old is now $(NAME)"

.PHONY: clean
clean: ## remove what make built
	rm -rf bin
	go clean
