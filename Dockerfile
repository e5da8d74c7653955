# syntax=docker/dockerfile:1
# One static binary in an empty image. Build: docker build -t tenantry .
#
# musl, not glibc: its resolver needs no shared library, so host names of upstreams resolve in an empty image. The
# Alpine variant of the Rust image links statically by itself.
FROM rust:1.95-alpine AS build
# make: the allocator's own build.
RUN apk add --no-cache musl-dev make
WORKDIR /source
COPY . .
# The caches keep dependencies built between builds; the binary must leave the cached directory.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked \
    && cp target/release/tenantry /tenantry

FROM scratch
COPY --from=build /tenantry /tenantry
COPY LICENSE /LICENSE
# No name: an empty image has no user database. The same number as "nonroot" elsewhere.
USER 65532:65532
# The listener and the admin port of the default configuration. Both listen on 127.0.0.1 unless told otherwise,
# which is what a sidecar wants: containers of a pod share the loopback interface.
EXPOSE 6380 9180
# Asks the admin port; an empty image has no curl.
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s --retries=3 CMD ["/tenantry", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/tenantry"]
