# A static, non-root image without a shell. The build needs nothing but this
# repository; the version is taken from the build argument.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /groupsync ./cmd/groupsync

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /groupsync /groupsync
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/groupsync"]
CMD ["--config", "/etc/groupsync/config/config.yaml"]
