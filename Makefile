# What one does with Switchboard from a checkout. Needs Go, Node and, for the
# tests, what .ci/run installs.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME ?= 30s
SOAK     ?= 30m
BENCH    ?=
SUITE    ?=
ARGS     ?=
CREATED  ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
REGISTRY ?=
DIST     ?= dist

# The version is stamped below; asking git again would fail in a checkout that
# belongs to another user.
export GOFLAGS ?= -buildvcs=false
# Tests use Debian's Chromium.
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD := 1

# Static, and the same bytes wherever it is built from the same source by the same Go.
BUILD := CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 go build -trimpath -ldflags "-X main.version=$(VERSION)"
SHIP  := cd deploy/check && CGO_ENABLED=0 go run -trimpath ./ship

WEB := $(shell find console/src console/public console/*.html console/*.ts console/*.json clients/js/src clients/js/*.json -type f 2>/dev/null)

.PHONY: help run build binary console check format vet lint web-check arch short dist dist-linux image push manifests deploy-check test test-large test-large-faults test-large-nodes test-large-topologies test-large-relay test-large-bench test-large-deploy soak fuzz bench bench-suite vuln clean

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
		printf '%-18s %s\n' "$$target" "$$text"; \
	done

run: build ## build, then serve; ARGS="--config F" for more
	exec bin/switchboard serve $(ARGS)

build: console binary ## the console, then bin/switchboard

binary: ## bin/switchboard alone, with the console as it was built last
	$(BUILD) -o bin/switchboard ./cmd/switchboard

console: console/dist/index.html ## the console alone

console/dist/index.html: node_modules/.package-lock.json $(WEB)
	npm run build
	touch $@

node_modules/.package-lock.json: package.json package-lock.json console/package.json clients/js/package.json
	npm ci
	touch $@

dist: dist-linux ## binaries for Linux and macOS in dist/, with their checksums
	for arch in amd64 arm64; do GOOS=darwin GOARCH=$$arch $(BUILD) -o $(DIST)/switchboard-darwin-$$arch ./cmd/switchboard; done
	cd $(DIST) && sha256sum switchboard-*-*64 >SHA256SUMS && cat SHA256SUMS

dist-linux: console
	for arch in amd64 arm64; do GOOS=linux GOARCH=$$arch $(BUILD) -o $(DIST)/switchboard-linux-$$arch ./cmd/switchboard; done

IMAGE = $(SHIP) image --version $(VERSION) --created $(CREATED) --amd64 $(abspath $(DIST))/switchboard-linux-amd64 --arm64 $(abspath $(DIST))/switchboard-linux-arm64

image: dist-linux ## dist/switchboard-image.tar: the container image for both platforms, for docker load and its like
	$(IMAGE) --save $(abspath $(DIST))/switchboard-image.tar

push: $(if $(REGISTRY),dist-linux) ## the image to a registry: REGISTRY=registry.example/team
	@[ -n "$(REGISTRY)" ] || { echo "where to? make push REGISTRY=registry.example/team"; exit 1; }
	$(IMAGE) --push $(REGISTRY)/switchboard:$(VERSION)

manifests: ## deploy/manifests, out of the chart in deploy/helm
	$(SHIP) manifests --chart ../helm/switchboard --to ../manifests

deploy-check: build ## what is in deploy/: the image, compose files, chart, manifests and unit. Needs root, ip, PostgreSQL, systemd-analyze
	cd deploy/check && CGO_ENABLED=0 go test -trimpath -parallel 5 ./...

check: format vet lint web-check arch short ## seconds: what to run before each commit

format: ## is the Go code formatted?
	@bad=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$bad" ]; then printf 'not formatted, run gofmt -w:\n%s\n' "$$bad"; exit 1; fi

vet: ## go vet
	go vet ./...

lint: ## staticcheck
	go tool staticcheck ./...

web-check: node_modules/.package-lock.json ## types and lint of console and client
	npm run build -w @switchboard/client
	npm run check
	npm run lint

arch: ## the law of the house
	go test ./internal/arch

short: ## the short Go tests
	go test -short ./...

test: ## everything, with the race detector and the browser
	node .ci/test.mjs

test-large: test-large-faults test-large-nodes test-large-topologies test-large-relay test-large-bench test-large-deploy ## what takes too long for make test

test-large-bench: binary ## the benchmarks in full: a good half hour on a machine that does nothing else
	bin/switchboard bench suite --out test-results/bench $(SUITE)

test-large-faults: ## its faults alone
	FAULT_ROUNDS=50 FAULT_TIME=3m go test -count=1 -v -timeout 1h -run 'TestAPowerCut|TestATornTail|TestAFlippedBit|TestInAMix|TestKilledAgain' ./internal/nodetest
	FAULT_ROUNDS=30 go test -count=1 -v -timeout 1h -run 'TestNothingIsLostBetweenDomains' ./internal/nodetest
	IMPORT_MESSAGES=100000 go test -count=1 -v -timeout 1h -run 'TestAStandaloneStore|TestKilledWhileItImports' ./internal/nodetest
	ROOM_HISTORY=1000000 go test -count=1 -v -timeout 1h -run 'TestALongHistory' ./internal/db

test-large-deploy: ## binaries of all platforms and their image, built twice, the second time elsewhere and by a Go that has nothing to go by
	rm -rf dist && $(MAKE) dist image VERSION=$(VERSION)
	folder=$$(mktemp -d) && trap 'chmod -R u+w $$folder; rm -rf $$folder' EXIT; \
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory=$$folder; \
	GOCACHE=$$folder/go $(MAKE) -C $$folder dist image VERSION=$(VERSION) CREATED=$(CREATED); \
	diff -r dist $$folder/dist

test-large-nodes: ## faults of several nodes, which take too long for make test
	FAULT_VICTIMS=all FAULT_TIME=3m FAULT_REST=5ms go test -count=1 -v -parallel 1 -timeout 1h -run 'TestACrowd|TestEachSessionOf|TestAClusterAtWork|TestAClusterGrows|TestAMinority|TestANodeWhose|TestAStandaloneStoreIsImportedInto|TestKilledWhileItImports|TestTheSuiteMeasuresClusters|TestWhateverHappens' ./internal/nodetest ./cmd/switchboard

test-large-topologies: ## all tests of one node with a connector and a processor, three nodes, three on one NATS
	for topology in split cluster external; do \
		NODETEST_TOPOLOGY=$$topology go test -count=1 -timeout 3h ./internal/nodetest; \
	done

test-large-relay: ## files in numbers and sizes that take too long for make test
	RELAY_FILES=10000 RELAY_MIB=2048 RELAY_SMALL=100000 RELAY_NAMES=1000000 FAULT_ROUNDS=30 go test -count=1 -v -parallel 1 -timeout 2h \
		-run 'TestFilesAreInEvery|TestALargeFile|TestManySmallFiles|TestAFolderOfManyNames|TestAPowerCutTakesBackNoFile|TestAfterAPowerCutAFile' ./internal/nodetest

soak: ## faults of all kinds, for SOAK (30m) on one node, as long on three, and as long in a ring of domains
	FAULT_SOAK=$(SOAK) FAULT_TIME=1m FAULT_REST=5ms go test -count=1 -v -parallel 1 -timeout 0 -run 'TestInAMix|TestWhateverHappens' ./internal/nodetest

fuzz: ## each fuzz target for FUZZTIME
	for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s "$$package"; \
		done; \
	done

bench: $(if $(BENCH),,bench-suite) ## the suite (SUITE="--short" for its flags), then Go benchmarks; BENCH=pattern: only those
	go test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem ./...

bench-suite: binary ## the benchmark suite alone
	bin/switchboard bench suite --out test-results/bench $(SUITE)

vuln: ## known vulnerabilities; asks the Go vulnerability database
	go tool govulncheck ./...

clean: ## removes what was built
	rm -rf bin dist test-results clients/js/dist clients/js/build console/build console/test-results
	find console/dist -mindepth 1 ! -name .gitkeep -delete 2>/dev/null || true
