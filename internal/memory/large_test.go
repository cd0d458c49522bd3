package memory

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// configMap is the number of bytes that a ConfigMap has for the memory (internal/kube).
const configMap = 1<<20 - 8<<10

// federated is a memory of that many people, groups and memberships. Each group has one
// removal that waits for its grace.
func federated(people, groups, memberships int) Memory {
	r := rand.New(rand.NewPCG(1, 2))
	ids := make([]string, people)
	for i := range ids {
		ids[i] = fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48))
	}
	m := Memory{Groups: make(map[string]Accepted), Wanted: make(map[string]time.Time), Federations: map[string]string{"f": "corp"}}
	for g := range groups {
		id := fmt.Sprintf("group-%05d", g)
		n := memberships / groups * 2 * (g + 1) / (groups + 1) // groups of different sizes
		a := Accepted{Sources: map[string]string{id: "/" + id}, Federations: []string{"f"}}
		for _, i := range r.Perm(people)[:min(n, people)] {
			a.Federated = append(a.Federated, ids[i])
		}
		slices.Sort(a.Federated)
		m.Groups[id] = a
		m.Wanted[Key(id, "cm-ann")] = time.Unix(1, 0).UTC()
	}
	return m
}

// BenchmarkAMillionMemberships packs the memory of 1,000,000 federated memberships into the
// size of a ConfigMap. KiB is the size before anything is forgotten.
func BenchmarkAMillionMemberships(b *testing.B) {
	m := federated(100_000, 1_000, 1_000_000)
	for b.Loop() {
		data, err := PackWithin(m, configMap)
		if err != nil || len(data) > configMap {
			b.Fatalf("%d bytes, %v", len(data), err)
		}
	}
	whole, err := Pack(m)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(whole))/(1<<10), "KiB")
}

// TestAMemoryThatIsTooLargeForAConfigMap: a file holds all of the memory, and a ConfigMap only
// the part that fits. The missing part makes no removal come sooner. The limit is a fiftieth of a
// ConfigMap's. The benchmark uses a million memberships.
func TestAMemoryThatIsTooLargeForAConfigMap(t *testing.T) {
	const configMap = configMap / 50
	m := federated(2_000, 100, 20_000)
	start := time.Now()
	whole, err := Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("packed: %d KiB in %s", len(whole)>>10, time.Since(start).Round(time.Millisecond))
	start = time.Now()
	data, err := PackWithin(m, configMap)
	if err != nil || len(data) > configMap {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	got, err := Unpack(data)
	if err != nil {
		t.Fatal(err)
	}
	f := got.Forgotten()
	t.Logf("within a ConfigMap: %d KiB in %s; forgotten: %d of %d groups, %d memberships", len(data)>>10, time.Since(start).Round(time.Millisecond), f.Groups, len(m.Groups), f.Memberships)
	if f.Groups == 0 || f.Groups == len(m.Groups) {
		t.Errorf("forgotten: %+v", f)
	}
	smallest := 0 // size of the smallest group that is forgotten
	for id, g := range m.Groups {
		now, waits := got.Groups[id], !got.Wanted[Key(id, "cm-ann")].IsZero()
		if len(now.Federated) != len(g.Federated) || now.Sources[id] != "/"+id || !slices.Equal(now.Federations, g.Federations) {
			t.Fatalf("the group %s is %+v", id, now)
		}
		if forgets := now.Forgotten > 0; forgets == waits || forgets == slices.Equal(now.Federated, g.Federated) {
			t.Fatalf("the group %s: forgotten %d, its clock is kept %v", id, now.Forgotten, waits)
		} else if forgets && (smallest == 0 || now.Forgotten < smallest) {
			smallest = now.Forgotten
		}
		if now.Forgotten > 0 && slices.ContainsFunc(now.Federated, func(id string) bool { return id != forgotten }) {
			t.Fatalf("the group %s has some ids", id)
		}
	}
	for id, g := range m.Groups {
		if got.Groups[id].Forgotten == 0 && len(g.Federated) > smallest {
			t.Fatalf("the group %s of %d is known, and one of %d is forgotten", id, len(g.Federated), smallest)
		}
	}
	again, err := PackWithin(got, configMap)
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("what was unpacked packs to other bytes, %v", err)
	}

	start = time.Now()
	dir := Dir(t.TempDir())
	if err := dir.Save(m); err != nil {
		t.Fatal(err)
	}
	kept, err := dir.Load()
	if err != nil || kept.Forgotten() != (Forgotten{}) || len(kept.Groups) != len(m.Groups) {
		t.Errorf("the file: %d groups, %v", len(kept.Groups), err)
	}
	t.Logf("file: written and read in %s", time.Since(start).Round(time.Millisecond))
}

// TestForgotten counts the groups that have forgotten members, and their memberships.
func TestForgotten(t *testing.T) {
	m := Memory{Groups: map[string]Accepted{"a": {Forgotten: 3}, "b": {Forgotten: 4}, "c": {Federated: []string{"ann"}}}}
	if got, want := m.Forgotten(), (Forgotten{Groups: 2, Memberships: 7}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWhatFitsIsNotForgotten(t *testing.T) {
	m := federated(1000, 10, 5000)
	want, err := Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := PackWithin(m, len(want))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d, %v", len(got), len(want), err)
	}
}

// TestWhatMustNotBeForgottenIsNot: the changes within the window stay, because they count
// toward limits.
func TestWhatMustNotBeForgottenIsNot(t *testing.T) {
	m := Memory{Pending: map[string]time.Time{}}
	for i := range 5000 {
		m.Pending[fmt.Sprint("p", i)] = time.Unix(1, 0).UTC()
		m.Removed = append(m.Removed, Intent{At: time.Unix(1, 0).UTC(), Group: "g", User: fmt.Sprint("u", i)})
	}
	intents, err := Pack(Memory{Removed: m.Removed})
	if err != nil {
		t.Fatal(err)
	}
	data, err := PackWithin(m, len(intents)+100)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Unpack(data); err != nil || len(got.Removed) != 5000 || len(got.Pending) != 0 {
		t.Errorf("%d removals and %d pending are left, %v", len(got.Removed), len(got.Pending), err)
	}
	if _, err := PackWithin(m, len(intents)-1000); err == nil || !strings.Contains(err.Error(), "the part that must not be forgotten takes") {
		t.Errorf("got %v", err)
	}
}

// TestAnOlderGroupsyncRefusesAForgettingMemory: an older version would assume that the groups
// were empty.
func TestAnOlderGroupsyncRefusesAForgettingMemory(t *testing.T) {
	m := Memory{Groups: map[string]Accepted{"g": Accepted{Forgotten: 3}.placeheld()}}
	if got := m.packedVersion(); got != version+1 {
		t.Errorf("version %d", got)
	}
	if got := (Memory{}).packedVersion(); got != version {
		t.Errorf("version %d of a memory that forgets nothing", got)
	}
}

// A gzip of a few kilobytes can contain gigabytes.
func TestWhatUnpacksToTooMuchIsRefused(t *testing.T) {
	const most = 1 << 20
	for _, row := range []struct {
		name string
		size int
		want string
	}{
		{"as long as is allowed", most, ""},
		{"one byte longer", most + 1, "it is longer than 1 MiB"},
		{"many times as long", 4 * most, "it is longer than 1 MiB"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(bytes.Repeat([]byte(" "), row.size))
			z.Close()
			got := ""
			text, err := unzipped(b.Bytes(), most)
			if err != nil {
				got = err.Error()
			}
			if got != row.want || len(text) > most+1 {
				t.Errorf("%d bytes, error %q; want %q", len(text), got, row.want)
			}
		})
	}
}
