# make test runs all tests. It gets everything that the tests need: Go modules, Keycloak from its
# Maven distribution, and slapd and etcd from Debian. It builds the developer tools of tools/ once,
# into the cache.
CACHE := $(HOME)/.cache/groupsync
BIN := $(CACHE)/bin
GO := go
export GOFLAGS := -mod=readonly
export CGO_ENABLED := 1
# The tests run these programs. They are built from tools/.
export PROMTOOL := $(BIN)/promtool
export PROMETHEUS := $(BIN)/prometheus
export HELM := $(BIN)/helm
export KUBE_APISERVER := $(BIN)/kube-apiserver
export KUBECONFORM := $(BIN)/kubeconform
export KUBESCHEMAS := $(CACHE)/kubeconform
export COMPOSE_SPEC := $(BIN)/compose-spec
export GORELEASER := $(BIN)/goreleaser
export ACTIONLINT := $(BIN)/actionlint
export TOOLS := $(shell cat tools/go.mod tools/*/go.mod | sha256sum | cut -c1-16)

# Starts one Keycloak for the tests of all packages, and runs a command. Without it each package
# would start its own Keycloak.
WITH = $(GO) run ./internal/source/keycloaktest/with

.PHONY: test test-release test-keycloak-versions test-toxics tools short bench assurance mutation mutation-simulate simulate soak fuzz image release security

DIRS := charts cmd docs examples internal tools

test:
	$(MAKE) -j2 tools
	@echo "gofmt" && test -z "$$(gofmt -l $(DIRS))" || { gofmt -l $(DIRS); exit 1; }
	$(GO) vet ./...
	$(BIN)/staticcheck ./...
	$(WITH) $(GO) test -race -timeout 45m -parallel 4 ./...
	SCHEDULES=2000 $(GO) test ./internal/simulate -run TestEverySchedule
	$(GO) run ./cmd/groupsync demo --exit

# The releases of Keycloak that groupsync's client is tested with. make test uses only the newest,
# the last one here. Where an older release answers differently, the tests expect that.
KEYCLOAK_VERSIONS := 24.0.5 25.0.6 26.0.8 26.7.3
# Tests of whole passes: over realms in which the member lists and the people's own side disagree,
# and one that removes people.
PASSES := ^(TestTwoLDAPGroupsOfOneName|TestAHardcodedGroupAndRole|TestADefaultGroupOfARealmWithLDAP|TestAMemberListedTwice|TestAnOldUserCache|TestWhatIsTrueIsRemoved)$$

# Runs against each release, one after the other: the tests of groupsync's Keycloak client, the
# table of Keycloak's answers about a person's own side, and PASSES. For one release:
# make test-keycloak-versions KEYCLOAK_VERSIONS=25.0.6.
test-keycloak-versions:
	@for version in $(KEYCLOAK_VERSIONS); do \
		echo "Keycloak $$version"; export KEYCLOAK_VERSION=$$version; \
		$(GO) test -count=1 -timeout 20m -skip LDAPTakesALoad ./internal/source/keycloaktest ./internal/source/keycloak || failed="$$failed $$version"; \
		$(GO) test -count=1 -timeout 20m -skip 'TestTwoLDAPGroupsOfOneName/an_older' -run '$(PASSES)' ./internal/reconcile || failed="$$failed $$version"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

# Tests of passes over connections that are slow, cut or reset. They are not part of make test,
# because clients wait for their timeouts. So they take up to four minutes on two busy cores.
test-toxics:
	$(GO) test -count=1 -timeout 20m -tags toxic -run TestNoToxicMakesAWrongChange ./internal/reconcile

# The findings of gosec about security. Fix a finding, or write #nosec into its line, with the
# reason why there is no problem. gosec reads neither _test.go files nor tools, which holds other
# modules. Three rules do not apply to three packages that only tests import, because there the
# tests choose every program and every file.
security: $(BIN)/gosec
	nice $(BIN)/gosec -quiet -nosec-require-rules -nosec-require-justification -exclude-dir=tools \
		-exclude-rules='internal/(processtest|source/keycloaktest|kube/kubetest)/.*:G122,G204,G304' ./...

# The tests that need no Java and no other server.
short:
	$(GO) test -short -race ./...

# Speed and size, as one table of figures and their goals. It takes about 40 minutes on two
# idle cores. ONLY is a regular expression over the names of benchmarks.
ONLY :=
bench: $(BIN)/assurance
	$(BIN)/assurance -only '$(ONLY)'

# Runs every fuzz target for FUZZTIME, one after the other (docs/fuzzing.md). make test runs only
# the committed inputs. Go stores an input that fails under testdata/fuzz. The minimizing time is
# short, because by default Go makes each new input smaller for up to a minute. Sometimes Go fails
# only because the time has ended. In that case there is no new input, the committed inputs pass,
# and the target counts as passed.
FUZZTIME := 30s
fuzz:
	@set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' internal); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' $$file); do \
			package=$$(dirname $$file); corpus=$$package/testdata/fuzz/$$target; \
			echo "$$package $$target"; had=$$(ls $$corpus 2>&1 || true); \
			nice $(GO) test ./$$package -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s || \
				{ test "$$had" = "$$(ls $$corpus 2>&1 || true)" && nice $(GO) test ./$$package -run "^$$target\$$"; } || exit 1; \
		done; \
	done

# Simulates the whole daemon in virtual time (docs/simulation.md), and prints how long that took.
# For fewer schedules: make simulate SEEDS=5000. For other schedules: make simulate SEED=200001.
SEEDS := 100000
SEED := 1
simulate:
	nice $(GO) test ./internal/simulate -run TestEverySchedule -timeout 24h -v -seeds $(SEEDS) -seed $(SEED)

# Removes the safety mechanisms of groupsync one by one. For each, a simulated schedule must break
# a law.
mutation-simulate:
	nice $(GO) test ./internal/simulate -run TestEveryMutantIsCaught -timeout 4h -v -mutants all

# Runs a simulated year of passes, and then passes for the real time SOAK under the race detector.
# Memory, goroutines and open files must not grow. Together they take about five minutes.
SOAK := 3m
soak:
	nice $(GO) test ./internal/simulate -run TestAYearOfPassesDoesNotGrow -timeout 1h -v -year
	nice $(GO) test -race ./cmd/groupsync -run 'TestSoak$$' -timeout 1h -v -soak $(SOAK)

# Makes docs/assurance.md from the results of simulate, mutation-simulate and bench. It takes as
# long as these three together. Nothing else may run on the machine, because bench measures time.
RESULTS := $(CACHE)/assurance
assurance: $(BIN)/assurance
	mkdir -p $(RESULTS)
	$(MAKE) -s simulate > $(RESULTS)/simulation.txt
	$(MAKE) -s mutation-simulate > $(RESULTS)/mutants.txt
	$(MAKE) -s bench > $(RESULTS)/figures.md
	$(BIN)/assurance -document $(RESULTS) > docs/assurance.md

# Mutation tests of the packages that decide about changes. docs/mutation.md describes how to read
# the result. They take about an hour on two cores, so they are not part of test. For another
# package: make mutation MUTATED=./internal/memory. MUTATION_EXCLUDE is a regular expression over
# the names of files that gremlins skips: helpers of tests, and code that does not decide.
MUTATED := ./internal/match ./internal/plan ./internal/guard ./internal/source ./internal/reconcile
MUTATION_EXCLUDE := plantest/|keycloak|realmfile|(catalog|lookup|near|source|role|ledger|pass|reconciler|scope|look|subject)\.go
mutation: export GOFLAGS := -mod=readonly -buildvcs=false -short
mutation: $(BIN)/gremlins $(BIN)/mutate-cases
	-nice $(BIN)/mutate-cases $(MUTATED)
	for package in $(MUTATED); do \
		nice $(BIN)/gremlins unleash $$package --timeout-coefficient 40 --invert-logical \
			--exclude-files '$(MUTATION_EXCLUDE)' --output-statuses lt || exit 1; \
	done

# Builds the image with docker buildx. docs/image.md describes other builders. The time in the
# image is the time of the commit, so that every build of a commit gives the same image.
IMAGE := groupsync:dev
SOURCE :=
BUILDX := --load
image:
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) docker buildx build \
		--build-arg VERSION=$$(git describe --tags --always --dirty) --build-arg REVISION=$$(git rev-parse HEAD) \
		--build-arg SOURCE=$(SOURCE) -t $(IMAGE) $(BUILDX) .

# Makes the release of the tag that is checked out, as .goreleaser.yaml describes.
release: $(BIN)/goreleaser $(BIN)/helm
	PATH=$(BIN):$$PATH $(GORELEASER) release --clean

# The tests that need GoReleaser, which takes minutes to build. The release runs them first.
test-release: $(BIN)/goreleaser $(BIN)/helm
	$(GO) test -count=1 -tags release -run TestGoReleaser ./internal/release

tools: $(BIN)/staticcheck $(BIN)/promtool $(BIN)/prometheus $(BIN)/helm $(BIN)/kube-apiserver $(BIN)/kubeconform $(KUBESCHEMAS)/made $(BIN)/compose-spec $(BIN)/actionlint

# The tag remove_all_sd builds Prometheus without service discovery for clouds, which takes longer
# to build than everything else. Discovery from files and static addresses remains.
$(BIN)/staticcheck $(BIN)/promtool $(BIN)/prometheus &: tools/go.mod tools/go.sum
	cd tools && $(GO) build -tags remove_all_sd -o $(BIN)/ honnef.co/go/tools/cmd/staticcheck \
		github.com/prometheus/prometheus/cmd/promtool github.com/prometheus/prometheus/cmd/prometheus && \
		touch $(BIN)/staticcheck $(BIN)/promtool $(BIN)/prometheus

$(BIN)/helm: tools/helm/go.mod tools/helm/go.sum
	cd tools/helm && $(GO) build -o $(BIN)/ tool && touch $(BIN)/helm

# Helm asks the API server for its version. A build without these linker flags has no version.
$(BIN)/kube-apiserver: tools/kube/go.mod tools/kube/go.sum
	cd tools/kube && v=$$($(GO) list -m -f '{{.Version}}' k8s.io/kubernetes) && \
		$(GO) build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$$v" -o $(BIN)/ tool && touch $(BIN)/kube-apiserver

$(BIN)/kubeconform: tools/kubeconform/go.mod tools/kubeconform/go.sum
	cd tools/kubeconform && $(GO) build -o $(BIN)/ tool && touch $(BIN)/kubeconform

# Makes the schemas for kubeconform from Go modules. kubeconform alone would download schemas.
$(KUBESCHEMAS)/made: tools/kubeconform/go.mod tools/kubeconform/schemas/main.go
	cd tools/kubeconform && $(GO) vet ./... && $(GO) run ./schemas $(KUBESCHEMAS) && touch $(KUBESCHEMAS)/made

$(BIN)/compose-spec: tools/compose/go.mod tools/compose/go.sum
	cd tools/compose && $(GO) build -o $@ github.com/compose-spec/compose-go/v2/cmd && touch $@

$(BIN)/goreleaser: tools/release/go.mod tools/release/go.sum
	cd tools/release && $(GO) build -o $@ github.com/goreleaser/goreleaser/v2 && touch $@

$(BIN)/actionlint: tools/release/go.mod tools/release/go.sum
	cd tools/release && $(GO) build -o $@ github.com/rhysd/actionlint/cmd/actionlint && touch $@

$(BIN)/gosec: tools/security/go.mod tools/security/go.sum
	cd tools/security && $(GO) build -o $(BIN)/ tool && touch $(BIN)/gosec

$(BIN)/gremlins: tools/mutation/go.mod tools/mutation/go.sum
	cd tools/mutation && $(GO) build -o $(BIN)/ tool && touch $(BIN)/gremlins

$(BIN)/mutate-cases: tools/mutation/go.mod tools/mutation/cases/main.go
	cd tools/mutation && $(GO) vet ./... && $(GO) build -o $@ ./cases && touch $@

$(BIN)/assurance: tools/assurance/go.mod $(wildcard tools/assurance/*.go tools/assurance/*.tmpl)
	cd tools/assurance && $(GO) vet ./... && $(GO) build -o $@ .
