# syntax=docker/dockerfile:1
# The server alone, for use with a Postgres that is given by --database-url. The private Postgres
# is for machines without a server; an image for it would be ten times the size.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# The Kafka client and the allocator are C, and their builds want make and a C++ compiler.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/*
COPY . .
# The caches outlive the layer, so an edit does not compile the whole tree again; what is kept of
# the build has to leave them within the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p accrue \
    && install -D target/release/accrue /out/accrue

# The same release of Debian as above: the program needs a C library no older than its build's.
FROM debian:bookworm-slim
# A real payment provider is called over TLS, for which its certificate has to be checked.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/accrue accrue
COPY --from=build /out/accrue /usr/local/bin/accrue
USER accrue
WORKDIR /var/lib/accrue
EXPOSE 8080
# The exec form makes the server process 1, so that it gets SIGTERM itself and can drain.
ENTRYPOINT ["accrue"]
CMD ["serve"]
