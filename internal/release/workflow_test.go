package release

import (
	goversion "go/version"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"groupsync/internal/processtest"
	"groupsync/internal/source/keycloaktest"
)

// workflow is the part of a workflow that the tests read.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Uses        string
		Permissions map[string]string
		Container   struct{ Image string }
		Strategy    struct{ Matrix map[string][]string }
		Steps       []struct {
			Uses, Run string
			With      map[string]string
		}
	}
}

func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]workflow)
	for _, f := range files {
		var w workflow
		name := filepath.Base(f)
		if err := yaml.Unmarshal([]byte(read(t, filepath.Join(".github", "workflows", name))), &w); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = w
	}
	return all
}

// TestTheWorkflowsLint runs actionlint on every workflow. It also checks the expressions and
// the types of the inputs.
func TestTheWorkflowsLint(t *testing.T) {
	program := processtest.Tool(t, "ACTIONLINT")
	// shellcheck is switched off, because not every machine has it.
	cmd := exec.Command(program, "-shellcheck=", "-no-color", ".github/workflows/ci.yaml", ".github/workflows/release.yaml")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestTheWorkflowsTestAndRelease: a change runs the one test command, and a release waits for
// it.
func TestTheWorkflowsTestAndRelease(t *testing.T) {
	all := workflows(t)
	if got := runs(all["ci.yaml"], "test"); !slices.Contains(got, "make test") {
		t.Errorf("ci.yaml runs %q, and not make test", got)
	}
	release := all["release.yaml"].Jobs
	if release["test"].Uses != "./.github/workflows/ci.yaml" {
		t.Errorf("release.yaml tests with %q", release["test"].Uses)
	}
	got := strings.Join(runs(all["release.yaml"], "release"), "\n")
	if !strings.HasPrefix(got, "make test-release\n") {
		t.Errorf("release.yaml does not begin with make test-release:\n%s", got)
	}
	for _, want := range []string{"make release", "make image IMAGE=", "--platform linux/amd64,linux/arm64"} {
		if !strings.Contains(got, want) {
			t.Errorf("release.yaml does not run %s:\n%s", want, got)
		}
	}
	if strings.Index(got, "make image") > strings.Index(got, "make release") {
		t.Errorf("release.yaml releases what has no image yet:\n%s", got)
	}
	for name, w := range all {
		if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
			t.Errorf("%s may do %v where a job does not say", name, w.Permissions)
		}
	}
}

// TestTheImageIsSigned: the release builds the image with provenance and SBOM. It signs the
// digest that buildx has written before anything else is released.
func TestTheImageIsSigned(t *testing.T) {
	job := workflows(t)["release.yaml"].Jobs["release"]
	if want := map[string]string{"contents": "write", "packages": "write", "id-token": "write"}; !maps.Equal(job.Permissions, want) {
		t.Errorf("the release may do %v, want %v", job.Permissions, want)
	}
	next := 0
	steps := []struct{ what, uses, run string }{
		{"cosign is there", "sigstore/cosign-installer@", ""},
		{"the image has provenance", "", "--provenance=mode=max "},
		{"the signature is of a digest", "", "cosign sign --yes \"$IMAGE_REPOSITORY@$digest\""},
		{"the archives are released", "", "make release"},
	}
	for _, s := range job.Steps {
		if next < len(steps) && strings.HasPrefix(s.Uses, steps[next].uses) && strings.Contains(s.Run, steps[next].run) {
			next++
		}
	}
	if next < len(steps) {
		t.Errorf("release.yaml has no step for %q in its place", steps[next].what)
	}
	lines := strings.Join(runs(workflows(t)["release.yaml"], "release"), "\n")
	for _, want := range []string{"--sbom=true ", "--metadata-file $RUNNER_TEMP/image.json ", `digest=$(jq -er '."containerimage.digest"' "$RUNNER_TEMP/image.json")`} {
		if !strings.Contains(lines, want) {
			t.Errorf("release.yaml does not run %s:\n%s", want, lines)
		}
	}
	if c := goreleaser(t); len(c.SBOMs) != 1 || c.SBOMs[0].Artifacts != "archive" {
		t.Errorf("the archives have the SBOMs %v", c.SBOMs)
	}
	for _, want := range []string{"cosign verify ", "--certificate-oidc-issuer https://token.actions.githubusercontent.com", "/.github/workflows/release.yaml@refs/tags/"} {
		if !strings.Contains(read(t, "docs/image.md"), want) {
			t.Errorf("docs/image.md does not say %s", want)
		}
	}
}

// TestTheReleasesOfKeycloak: the Makefile, the workflow and the README name the same releases.
// make test uses the newest.
func TestTheReleasesOfKeycloak(t *testing.T) {
	found := regexp.MustCompile(`(?m)^KEYCLOAK_VERSIONS := (.+)$`).FindStringSubmatch(read(t, "Makefile"))
	if found == nil {
		t.Fatal("the Makefile names no KEYCLOAK_VERSIONS")
	}
	versions := strings.Fields(found[1])
	ci := workflows(t)["ci.yaml"]
	if got := ci.Jobs["keycloak"].Strategy.Matrix["version"]; !slices.Equal(got, versions) {
		t.Errorf("ci.yaml tests with %q, the Makefile with %q", got, versions)
	}
	if got, want := runs(ci, "keycloak"), "make test-keycloak-versions KEYCLOAK_VERSIONS=${{ matrix.version }}"; !slices.Contains(got, want) {
		t.Errorf("ci.yaml runs %q, and not %s", got, want)
	}
	if newest := versions[len(versions)-1]; newest != keycloaktest.Version {
		t.Errorf("the newest of the Makefile is %s, make test uses %s", newest, keycloaktest.Version)
	}
	if want := strings.Join(versions[:len(versions)-1], ", ") + " and " + versions[len(versions)-1]; !strings.Contains(read(t, "README.md"), want) {
		t.Errorf("README.md does not say %q", want)
	}
}

func runs(w workflow, job string) (lines []string) {
	for _, s := range w.Jobs[job].Steps {
		if s.Run != "" {
			lines = append(lines, s.Run)
		}
	}
	return lines
}

// TestTheWorkflowsPinActions: every action is pinned to a commit, because its owner could move
// a tag.
func TestTheWorkflowsPinActions(t *testing.T) {
	pinned := regexp.MustCompile(`^[\w./-]+@[0-9a-f]{40}$`)
	for name, w := range workflows(t) {
		for _, job := range w.Jobs {
			for _, s := range job.Steps {
				if s.Uses != "" && !pinned.MatchString(s.Uses) {
					t.Errorf("%s uses %s, which is not pinned to a commit", name, s.Uses)
				}
			}
		}
	}
}

// TestOneGo: the tests, the release and the image use the same Go, and every module accepts
// it.
func TestOneGo(t *testing.T) {
	base := bases(t)
	if len(base) != 1 {
		t.Fatalf("the Dockerfile is built on %v", base)
	}
	all := workflows(t)
	for name, job := range all["ci.yaml"].Jobs {
		if got := job.Container.Image; got != base[0] {
			t.Errorf("the job %s of ci.yaml tests in %s, the Dockerfile builds in %s", name, got, base[0])
		}
	}
	version := regexp.MustCompile(`golang:([\d.]+)-`).FindStringSubmatch(base[0])[1]
	for _, s := range all["release.yaml"].Jobs["release"].Steps {
		if got, is := s.With["go-version"]; is && got != version {
			t.Errorf("release.yaml builds with Go %s, the Dockerfile with %s", got, version)
		}
	}
	modules, err := filepath.Glob(filepath.Join(root, "tools", "*", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append(modules, filepath.Join(root, "tools", "go.mod"), filepath.Join(root, "go.mod")) {
		text, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		if wants := regexp.MustCompile(`(?m)^go ([\d.]+)$`).FindSubmatch(text); goversion.Compare("go"+string(wants[1]), "go"+version) > 0 {
			t.Errorf("%s wants Go %s, the Dockerfile builds with %s", m, wants[1], version)
		}
	}
}

// TestVulnerabilitiesAreLookedFor: the workflow runs govulncheck, because there the list of
// vulnerabilities can be downloaded.
func TestVulnerabilitiesAreLookedFor(t *testing.T) {
	if got := runs(workflows(t)["ci.yaml"], "vulnerabilities"); !slices.ContainsFunc(got, func(run string) bool { return strings.HasSuffix(run, "/govulncheck ./...") }) {
		t.Errorf("ci.yaml runs %q", got)
	}
}

// TestTheCodeIsLookedAt: the workflow runs gosec, and each remaining finding needs a reason.
func TestTheCodeIsLookedAt(t *testing.T) {
	if got := runs(workflows(t)["ci.yaml"], "security"); !slices.Contains(got, "make security") {
		t.Errorf("ci.yaml runs %q, and not make security", got)
	}
	recipe := regexp.MustCompile(`(?m)^security:.*\n((?:\t.*\n)+)`).FindStringSubmatch(read(t, "Makefile"))
	if recipe == nil {
		t.Fatal("the Makefile has no security")
	}
	for _, want := range []string{"/gosec ", " -nosec-require-rules ", " -nosec-require-justification ", " ./...\n"} {
		if !strings.Contains(recipe[1], want) {
			t.Errorf("make security does not run %q:\n%s", want, recipe[1])
		}
	}
	if strings.Contains(recipe[1], "-no-fail") {
		t.Errorf("make security passes whatever gosec finds:\n%s", recipe[1])
	}
}
