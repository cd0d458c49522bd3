# An image of two files, the static binary and the certificate authorities: no
# shell, no package manager, nothing to patch but Go. docs/image.md says how it is
# built, also for other platforms.
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
# Where modules come from, if not from where Go looks by itself.
ARG GOPROXY
ARG GOSUMDB
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY cmd cmd
COPY internal internal
COPY examples/realm examples/realm
# The version is an argument, and not taken from .git: the same arguments give
# the same bytes, from a shallow clone, a tarball or a changed checkout alike.
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
ARG REVISION
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOCACHE=/root/.cache/go-build CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION -X main.revision=$REVISION" -o /out/groupsync ./cmd/groupsync
RUN mkdir -p /state/groupsync

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A volume that is mounted on it takes its owner from here.
COPY --from=build --chown=65532:65532 /state/ /var/lib/
COPY --from=build /out/groupsync /groupsync
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="groupsync" \
      org.opencontainers.image.description="Keeps ClearML Enterprise user groups equal to Keycloak group membership" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/groupsync"]
CMD ["--config", "/etc/groupsync/config/config.yaml"]
