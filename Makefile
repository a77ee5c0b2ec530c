# Two commands: `make run` starts Aerial, `make test` runs every check.
# Both install what they need on Debian 12 first; a second run skips that.

CARGO := .ci/cargo
NODE_TOOLS := tests/browser/node_modules/.bin
CARGO_DENY := $(CURDIR)/target/tools/cargo-deny/bin
# Running all tests is bounded too, so that nothing can hang a build; compiling is not. In seconds.
TEST_TIMEOUT := 1500
BROWSER_TIMEOUT := 2400

.PHONY: help run cluster build package deb deb-test soak test setup setup-test compile format lint deny audit unit docs \
	browser bench-smoke bench
MAKEFLAGS += --no-print-directory

help:
	@echo 'make run    build quickly and serve http://localhost:8080 (options: make run ARGS="--listen 0.0.0.0:8080")'
	@echo 'make cluster  three nodes on this machine as one service, with NATS and a proxy: http://localhost:8080'
	@echo 'make test   every check: format, lint, dependencies, unit and integration tests, docs, browser, a short benchmark'
	@echo 'make deb    the Debian package, in target/debian; make deb-test installs it in a fresh Debian 12 and uses it'
	@echo 'make package  the player for npm, in target/package'
	@echo 'make audit  dependencies with known vulnerabilities'
	@echo 'make soak   half an hour with 300 viewers and attackers'
	@echo 'make bench  the full benchmark (options: make bench ARGS="--viewers 50,100,200,400")'

run: setup
	$(CARGO) run --profile quick --locked -- serve $(ARGS)

# Ctrl+C ends all that it starts.
cluster: build
	.ci/setup cluster
	.ci/cluster

build: setup
	$(CARGO) build --release --locked

# The tests pack it as well (tests/browser/package.test.js).
package: setup-test
	node web/package/build.js target/package
	cd target/package && npm pack --silent

deb: build
	.ci/setup deb
	.ci/deb

# As root; not in `make test`, because it downloads a Debian.
deb-test: deb
	.ci/deb-test

bench: build
	$(CARGO) run --release --locked -- bench $(ARGS)

# Half an hour of a crowd and of attacks, in release mode on both sides: 300 clients are a load of
# their own. Not in `make test`.
soak: setup-test
	G_DEBUG=fatal-criticals timeout -k 10 3600 \
		$(CARGO) test --release --locked --test aerial -- soak::a_crowd --ignored --nocapture

# The compiler runs while the rest of the set-up waits for the network.
test: setup
	$(MAKE) -j2 setup-test compile
	$(MAKE) -j1 format lint deny unit docs browser bench-smoke
	@echo 'make test: all checks passed'

setup:
	.ci/setup run

setup-test:
	.ci/setup test

compile:
	$(CARGO) test --locked --no-run
	$(CARGO) build --locked

format:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path tests/gstreamer/Cargo.toml
	$(NODE_TOOLS)/prettier --check --log-level warn web tests/browser examples

lint:
	$(CARGO) clippy --all-targets --locked -- -D warnings
	.ci/setup lint-clients
	$(NODE_TOOLS)/tsc --project tests/browser/tsconfig.web.json
	$(NODE_TOOLS)/tsc --project tests/browser/tsconfig.json

deny:
	PATH=$(CARGO_DENY):$$PATH $(CARGO) deny --locked check --hide-inclusion-graph licenses bans sources

# Not in `make test`: it fetches the database of advisories, and fails when one appears, not when the code changes.
audit: setup-test
	PATH=$(CARGO_DENY):$$PATH $(CARGO) deny --locked check advisories

# A GStreamer critical is a bug in how we use it: it ends the test program. Most tests wait for media in real time, so
# there are more of them at once than processors.
unit: export RUST_TEST_THREADS := $(shell echo $$((2 * $$(nproc))))
unit: compile
	G_DEBUG=fatal-criticals timeout -k 10 $(TEST_TIMEOUT) .ci/tests

docs:
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --no-deps --document-private-items

browser: compile
	timeout -k 10 $(BROWSER_TIMEOUT) .ci/browser-tests

# Do all viewers get everything? The figures of a debug build say nothing.
bench-smoke: compile
	timeout -k 10 120 $(CARGO) run --locked -- bench --viewers 5 --seconds 1
	timeout -k 10 120 $(CARGO) run --locked -- bench --ladder --viewers 2,4 --seconds 1 --rounds 1
	timeout -k 10 120 $(CARGO) run --locked -- bench --cluster --edges 2 --seconds 1 \
		--nats-server tests/.venv/bin/nats-server
