package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
)

//go:embed assurance.md.tmpl
var documentText string

// simulation is the output of TestEverySchedule of internal/simulate with -v.
type simulation struct {
	Schedules, Passes, Failed string
	Virtual, Took             time.Duration
	Sometimes                 map[string]int
}

// caught is one safety mechanism that TestEveryMutantIsCaught of internal/simulate removed, with
// the schedule that then broke a law.
type caught struct {
	Mechanism, Seed, Took, Law string
}

// document is the content of docs/assurance.md.
type document struct {
	Date, Commit, Machine string
	Simulation            simulation
	Caught                []caught
	Mutants               string // the table of docs/mutation.md
	Figures               string // the table of make bench
}

var (
	totals = regexp.MustCompile(`(?m)(\d+) schedules, (\d+) passes, (\S+) of virtual time in (\S+); (\d+) failed$`)
	count  = regexp.MustCompile(`(?m)^(\d+) ([a-z_' ]+)$`)
	catch  = regexp.MustCompile(`(?m)=== RUN +TestEveryMutantIsCaught/(\S+)\n +\S+ caught by seed (\d+) in (\S+): ([^:\n]*)`)
)

// readSimulation reads the output of TestEverySchedule.
func readSimulation(file string) (s simulation, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return s, err
	}
	total := totals.FindSubmatch(text)
	if total == nil {
		return s, fmt.Errorf("%s does not say how many schedules ran", file)
	}
	s = simulation{Schedules: string(total[1]), Passes: string(total[2]), Failed: string(total[5]), Sometimes: make(map[string]int)}
	if s.Virtual, err = time.ParseDuration(string(total[3])); err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	if s.Took, err = time.ParseDuration(string(total[4])); err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	for _, m := range count.FindAllSubmatch(text, -1) {
		if s.Sometimes[string(m[2])], err = strconv.Atoi(string(m[1])); err != nil {
			return s, fmt.Errorf("%s: %w", file, err)
		}
	}
	return s, nil
}

// readCaught reads the output of TestEveryMutantIsCaught. The result has the order of the output.
func readCaught(file string) ([]caught, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var found []caught
	for _, m := range catch.FindAllSubmatch(text, -1) {
		found = append(found, caught{strings.ReplaceAll(string(m[1]), "_", " "), string(m[2]), string(m[3]), string(m[4])})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s names no mechanism that was caught", file)
	}
	return found, nil
}

// counter is the name of something that happened in the schedules, and how often it happened.
type counter struct {
	Name string
	N    int
}

// Counts returns the counters whose names begin with the word, sorted by name. It removes the word
// from the names. With an empty word it returns the counters whose names begin with none of words.
func (s simulation) Counts(word string) (found []counter) {
	for name, n := range s.Sometimes {
		first, rest, is := strings.Cut(name, " ")
		own := is && slices.Contains(words, first)
		switch {
		case own && first == word:
			found = append(found, counter{rest, n})
		case !own && word == "":
			found = append(found, counter{name, n})
		}
	}
	slices.SortFunc(found, func(a, b counter) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// words are the first words of counters that have a table of their own.
var words = []string{"fault", "event", "guard", "result", "change", "kept"}

// Days returns the virtual time in days.
func (s simulation) Days() string { return fmt.Sprintf("%.0f", s.Virtual.Hours()/24) }

// Minutes returns the time that the run took.
func (s simulation) Minutes() string { return fmt.Sprintf("%.1f", s.Took.Minutes()) }

// section returns the table below the heading of a Markdown file.
func section(file, heading string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	_, rest, found := strings.Cut(string(text), heading+"\n")
	if !found {
		return "", fmt.Errorf("%s has no heading %q", file, heading)
	}
	_, rest, found = strings.Cut(rest, "\n|")
	if !found {
		return "", fmt.Errorf("%s has no table below %q", file, heading)
	}
	table, _, _ := strings.Cut("|"+rest, "\n\n")
	return table, nil
}

// write returns the text of docs/assurance.md. It is made from the files that make assurance
// has collected in a directory: simulation.txt, mutants.txt and figures.md.
func write(dir string) (string, error) {
	d := document{Date: time.Now().UTC().Format(time.DateOnly), Machine: machine()}
	commit, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "", fmt.Errorf("git rev-parse HEAD: %w", err)
	}
	d.Commit = strings.TrimSpace(string(commit))
	if d.Simulation, err = readSimulation(filepath.Join(dir, "simulation.txt")); err != nil {
		return "", err
	}
	if d.Caught, err = readCaught(filepath.Join(dir, "mutants.txt")); err != nil {
		return "", err
	}
	if d.Mutants, err = section("docs/mutation.md", "## The last result"); err != nil {
		return "", err
	}
	figures, err := os.ReadFile(filepath.Join(dir, "figures.md"))
	if err != nil {
		return "", err
	}
	d.Figures = strings.TrimSpace(string(figures))
	var out bytes.Buffer
	t, err := template.New("assurance").Parse(documentText)
	if err != nil {
		return "", err
	}
	if err := t.Execute(&out, d); err != nil {
		return "", err
	}
	return out.String(), nil
}
