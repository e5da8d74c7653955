# Two targets matter: `make run` and `make test`. Both install what a bare machine with a Rust toolchain lacks.

.DEFAULT_GOAL := help
.PHONY: help run build test bench soak lint clean

# `make bench ARGS='--rounds 7 --workloads get64,mget10'`; `make bench ARGS=--cluster` measures a cluster instead,
# `ARGS=--fairness` what tenants do to each other, `ARGS=--limits` how a rate is kept, `ARGS=--fleet` how four proxies keep
# one together, `ARGS=--breaker` a Redis that stops, `ARGS=--compression` compressed values; `make bench ARGS=--help` lists
# all of it.
ARGS ?=

# `make soak ARGS=--overload MINUTES=2`
MINUTES ?= 10
export MINUTES

# Debian puts proxies where only root's PATH looks.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

help: ## print this list
	@echo 'Tenantry: many tenants, one Redis, no change to the application.'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s  %s\n", $$1, $$2 }' Makefile

run: ## start Tenantry with a private Redis and two example tenants; prints what to try
	@scripts/install-missing cc redis-server redis-cli
	@cargo run --release --locked -- dev

build: ## build the program: target/release/tenantry
	@scripts/install-missing cc
	@cargo build --release --locked

test: ## run every test, against Redis servers that the tests start
	@scripts/install-missing cc redis-server redis-cli python3-venv node npm
	@scripts/install-clients
	@if cargo nextest --version >/dev/null 2>&1; then \
	    cargo test --locked --doc && cargo nextest run --locked; \
	else \
	    cargo test --locked; \
	fi

bench: ## compare with direct Redis, twemproxy and haproxy, interleaved in one run (Linux)
	@scripts/install-missing cc redis-server nutcracker haproxy
	@cargo bench --locked --bench loopback -- $(ARGS)

soak: ## offer ten times what there is room for, and verify every promise; ARGS=--overload MINUTES=10 (Linux)
	@scripts/install-missing cc redis-server
	@cargo bench --locked --bench soak -- $(ARGS)

lint: ## formatting, clippy and documentation, warnings denied
	@scripts/install-missing cc
	@cargo fmt --check
	@cargo clippy --locked --all-targets -- -D warnings
	@RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps

clean: ## remove what was built
	@cargo clean
