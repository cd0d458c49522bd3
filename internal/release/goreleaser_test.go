package release

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// goreleaserConfig is the part of .goreleaser.yaml that the tests read.
type goreleaserConfig struct {
	Builds []struct {
		Main         string
		Env          []string
		Flags        []string
		Ldflags      []string
		Goos, Goarch []string
	}
	Archives []struct {
		Files []struct{ Src string }
	}
	SBOMs []struct{ Artifacts string } `yaml:"sboms"`
}

func goreleaser(t *testing.T) (c goreleaserConfig) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, ".goreleaser.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEveryPlatformIsReleased checks that the platforms of the README are released, and that
// the archives name files that exist.
func TestEveryPlatformIsReleased(t *testing.T) {
	c := goreleaser(t)
	if b := c.Builds[0]; !slices.Equal(b.Goos, []string{"linux", "darwin"}) || !slices.Equal(b.Goarch, []string{"amd64", "arm64"}) {
		t.Errorf("released for %v on %v", b.Goos, b.Goarch)
	}
	for _, f := range c.Archives[0].Files {
		if found, err := filepath.Glob(filepath.Join(root, f.Src)); err != nil || len(found) == 0 {
			t.Errorf("the archives hold %s, which is not there: %v", f.Src, err)
		}
	}
}

// TestTheDockerfileBuildsWithTheSameFlags compares the flags. TestImage also compares the two
// binaries.
func TestTheDockerfileBuildsWithTheSameFlags(t *testing.T) {
	b := goreleaser(t).Builds[0]
	flags := strings.NewReplacer("v{{ .Version }}", "$VERSION", "{{ .FullCommit }}", "$REVISION").Replace(b.Ldflags[0])
	want := "go build " + strings.Join(b.Flags, " ") + ` -ldflags "` + flags + `" -o /out/groupsync ` + b.Main
	text := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(read(t, "Dockerfile"), "")
	if !strings.Contains(text, want) {
		t.Errorf("the Dockerfile does not say\n%s", want)
	}
	for _, e := range b.Env {
		if !strings.Contains(text, e) {
			t.Errorf("the Dockerfile does not set %s", e)
		}
	}
}
