# The one test command. It brings what it needs: Go modules, Keycloak from its
# Maven distribution, slapd and etcd from Debian, and the developer tools of
# tools/, built once into the cache.
CACHE := $(HOME)/.cache/groupsync
BIN := $(CACHE)/bin
GO := go
export GOFLAGS := -mod=readonly
export CGO_ENABLED := 1
# The tests run these; they are built from tools/.
export PROMTOOL := $(BIN)/promtool
export PROMETHEUS := $(BIN)/prometheus
export HELM := $(BIN)/helm
export KUBE_APISERVER := $(BIN)/kube-apiserver
export KUBECONFORM := $(BIN)/kubeconform
export KUBESCHEMAS := $(CACHE)/kubeconform
export COMPOSE_SPEC := $(BIN)/compose-spec
export GORELEASER := $(BIN)/goreleaser
export ACTIONLINT := $(BIN)/actionlint

.PHONY: test tools short bench mutation image release

DIRS := charts cmd docs examples internal tools

test: tools
	@echo "gofmt" && test -z "$$(gofmt -l $(DIRS))" || { gofmt -l $(DIRS); exit 1; }
	$(GO) vet ./...
	$(BIN)/staticcheck ./...
	$(GO) test -race -timeout 25m ./...
	$(GO) run ./cmd/groupsync demo --exit

# What needs neither Java nor a server.
short:
	$(GO) test -short -race ./...

bench:
	$(GO) test -run '^$$' -bench Plan -benchmem ./internal/plan
	$(GO) test -run '^$$' -bench PassL -benchtime 1x -timeout 40m ./internal/reconcile
	$(GO) test -run '^$$' -bench 'Pull|Crowd' -benchtime 1x -timeout 30m ./internal/source/keycloak

# Mutation tests of the decision. docs/mutation.md says how to read the result. They
# take about an hour on two cores, so they are no part of test. For another package, or
# for some files of one: make mutation MUTATED=./internal/memory. MUTATION_EXCLUDE is
# an expression over the names of files that gremlins leaves alone: tests' own parts,
# and what does not decide.
MUTATED := ./internal/match ./internal/plan ./internal/guard ./internal/source ./internal/reconcile
MUTATION_EXCLUDE := plantest/|keycloak|realmfile|(catalog|lookup|near|source|role|ledger|pass|reconciler|scope|look|subject)\.go
mutation: export GOFLAGS := -mod=readonly -buildvcs=false -short
mutation: $(BIN)/gremlins $(BIN)/mutate-cases
	-nice $(BIN)/mutate-cases $(MUTATED)
	for package in $(MUTATED); do \
		nice $(BIN)/gremlins unleash $$package --timeout-coefficient 40 --invert-logical \
			--exclude-files '$(MUTATION_EXCLUDE)' --output-statuses lt || exit 1; \
	done

# The image, by docker with buildx; docs/image.md has other builders. The time
# in it is the commit's, so that it is the same image whenever it is built.
IMAGE := groupsync:dev
SOURCE :=
BUILDX := --load
image:
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) docker buildx build \
		--build-arg VERSION=$$(git describe --tags --always --dirty) --build-arg REVISION=$$(git rev-parse HEAD) \
		--build-arg SOURCE=$(SOURCE) -t $(IMAGE) $(BUILDX) .

# What .goreleaser.yaml says, of the tag that is checked out.
release: $(BIN)/goreleaser $(BIN)/helm
	PATH=$(BIN):$$PATH $(GORELEASER) release --clean

tools: $(BIN)/staticcheck $(BIN)/promtool $(BIN)/prometheus $(BIN)/helm $(BIN)/kube-apiserver $(BIN)/kubeconform $(KUBESCHEMAS)/made $(BIN)/compose-spec $(BIN)/goreleaser

$(BIN)/staticcheck $(BIN)/promtool $(BIN)/prometheus: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o $(BIN)/ tool && touch $(BIN)/staticcheck $(BIN)/promtool $(BIN)/prometheus

$(BIN)/helm: tools/helm/go.mod tools/helm/go.sum
	cd tools/helm && $(GO) build -o $(BIN)/ tool && touch $(BIN)/helm

# Helm asks the server for its version, which only the linker sets.
$(BIN)/kube-apiserver: tools/kube/go.mod tools/kube/go.sum
	cd tools/kube && v=$$($(GO) list -m -f '{{.Version}}' k8s.io/kubernetes) && \
		$(GO) build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$v" -o $(BIN)/ tool && touch $(BIN)/kube-apiserver

$(BIN)/kubeconform: tools/kubeconform/go.mod tools/kubeconform/go.sum
	cd tools/kubeconform && $(GO) build -o $(BIN)/ tool && touch $(BIN)/kubeconform

# kubeconform's schemas, made from Go modules: it would download them.
$(KUBESCHEMAS)/made: tools/kubeconform/go.mod tools/kubeconform/schemas/main.go
	cd tools/kubeconform && $(GO) vet ./... && $(GO) run ./schemas $(KUBESCHEMAS) && touch $(KUBESCHEMAS)/made

$(BIN)/compose-spec: tools/compose/go.mod tools/compose/go.sum
	cd tools/compose && $(GO) build -o $@ github.com/compose-spec/compose-go/v2/cmd && touch $@

$(BIN)/goreleaser $(BIN)/actionlint: tools/release/go.mod tools/release/go.sum
	cd tools/release && $(GO) build -o $(BIN)/ tool && touch $(BIN)/goreleaser $(BIN)/actionlint

$(BIN)/gremlins: tools/mutation/go.mod tools/mutation/go.sum
	cd tools/mutation && $(GO) build -o $(BIN)/ tool && touch $(BIN)/gremlins

$(BIN)/mutate-cases: tools/mutation/go.mod tools/mutation/cases/main.go
	cd tools/mutation && $(GO) vet ./... && $(GO) build -o $@ ./cases && touch $@
