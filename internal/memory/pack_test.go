package memory

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestWhatIsPackedIsUnpacked(t *testing.T) {
	id := rapid.StringMatching("[a-d]{1,2}")
	moment := rapid.Custom(func(t *rapid.T) time.Time { return time.Unix(rapid.Int64Range(0, 1e9).Draw(t, "s"), 0).UTC() })
	intents := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Intent {
		return Intent{At: moment.Draw(t, "at"), Group: id.Draw(t, "group"), User: id.Draw(t, "user"), Settled: rapid.Bool().Draw(t, "settled"), Count: rapid.Int().Draw(t, "n")}
	}))
	rapid.Check(t, func(t *rapid.T) {
		m := Memory{
			Federations: rapid.MapOf(id, id).Draw(t, "federations"),
			Groups: rapid.MapOf(id, rapid.Custom(func(t *rapid.T) Accepted {
				return Accepted{Sources: rapid.MapOf(id, id).Draw(t, "sources"), Federated: rapid.SliceOf(id).Draw(t, "federated"), Federations: rapid.SliceOf(id).Draw(t, "f")}
			})).Draw(t, "groups"),
			Wanted:   rapid.MapOf(id, moment).Draw(t, "wanted"),
			Answered: rapid.MapOf(id, rapid.Bool()).Draw(t, "answered"), Rules: id.Draw(t, "rules"),
			Removed: intents.Draw(t, "removed"), Granted: intents.Draw(t, "granted"), Added: intents.Draw(t, "added"),
			Pending: rapid.MapOf(id, moment).Draw(t, "pending"), FailedAt: moment.Draw(t, "failed"),
		}
		before := m.Clone()
		data, err := Pack(m)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := Pack(m)
		got, err := Unpack(data)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("-packed +unpacked\n%s", d)
		}
		if string(again) != string(data) || cmp.Diff(before, m, cmpopts.EquateEmpty()) != "" {
			t.Error("two runs give two outcomes, or the memory was changed")
		}
	})
}

func TestNoMemoryIsUnpackedFromWhatIsNone(t *testing.T) {
	whole, err := Pack(Memory{Groups: map[string]Accepted{"g": {Federated: []string{"u"}}}})
	if err != nil {
		t.Fatal(err)
	}
	inside := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, row := range map[string]struct {
		data []byte
		want string
	}{
		"no bytes":                      {nil, "the guards' memory is corrupt (EOF)"},
		"some text":                     {[]byte("memory and more"), "the guards' memory is corrupt (gzip: invalid header)"},
		"half of one":                   {whole[:len(whole)/2], "the guards' memory is corrupt (unexpected EOF)"},
		"without its end":               {whole[:len(whole)-4], "the guards' memory is corrupt (unexpected EOF)"},
		"a changed checksum":            {append(append([]byte{}, whole[:len(whole)-8]...), make([]byte, 8)...), "the guards' memory is corrupt (gzip: invalid checksum)"},
		"no JSON":                       {inside("memory"), "the guards' memory is corrupt (invalid character 'm' looking for beginning of value)"},
		"another version":               {inside(`{"version":99}`), fmt.Sprintf("the guards' memory has version 99, this groupsync reads version %d", version)},
		"an unknown group":              {inside(fmt.Sprintf(`{"version":%d,"people":["u"],"members":{"g":[0]}}`, version)), "the guards' memory is corrupt (no group g)"},
		"a place too far":               {inside(fmt.Sprintf(`{"version":%d,"people":["u"],"members":{"g":[0,1]},"memory":{"groups":{"g":{}}}}`, version)), "the guards' memory is corrupt (no person 1)"},
		"a place before all":            {inside(fmt.Sprintf(`{"version":%d,"people":["u"],"members":{"g":[-1]},"memory":{"groups":{"g":{}}}}`, version)), "the guards' memory is corrupt (no person -1)"},
		"fewer than none are forgotten": {inside(fmt.Sprintf(`{"version":%d,"memory":{"groups":{"g":{"forgotten":-1}}}}`, forgettingVersion)), "the guards' memory is corrupt (-1 forgotten members of the group g do not fit its other entries)"},
		"too many are forgotten":        {inside(fmt.Sprintf(`{"version":%d,"memory":{"groups":{"g":{"forgotten":%d}}}}`, forgettingVersion, maxForgotten+1)), fmt.Sprintf("the guards' memory is corrupt (%d forgotten members of the group g do not fit its other entries)", maxForgotten+1)},
	} {
		if _, err := Unpack(row.data); err == nil || err.Error() != row.want {
			t.Errorf("%s: got %v, want %s", name, err, row.want)
		}
	}
}

// TestAPackedMemoryOfTheVersionBeforeIsUnpacked: such a memory has no rules, and its removals
// are numbers.
func TestAPackedMemoryOfTheVersionBeforeIsUnpacked(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	text := fmt.Sprintf(`{"version":%d,"people":["u"],"members":{"g":[0]},"memory":{"groups":{"g":{"sources":{"1":"/a"},"federated":null,"federations":null}},
		"removed":[{"at":"2026-11-24T00:00:00Z","count":3}],"planned":"2026-11-24T00:00:00Z"}}`, version)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Unpack(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want := Memory{Groups: map[string]Accepted{"g": {Sources: map[string]string{"1": "/a"}, Federated: []string{"u"}}}, Removed: []Intent{{At: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Count: 3}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// TestALargeRealmFits: 10,000 federated people with 50,000 memberships need much less than a
// ConfigMap's size.
func TestALargeRealmFits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	people := make([]string, 10_000)
	for i := range people {
		people[i] = fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", r.Uint32(), r.Uint32()&0xffff, r.Uint32()&0xfff, r.Uint32()&0xffff, r.Uint64()&0xffffffffffff)
	}
	m := Memory{Groups: map[string]Accepted{}}
	for g := range 1000 {
		a := Accepted{}
		for range 50 {
			a.Federated = append(a.Federated, people[r.IntN(len(people))])
		}
		m.Groups[fmt.Sprintf("%032x", g)] = a
	}
	data, err := Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(data))
	if len(data) > 512<<10 {
		t.Errorf("%d bytes: a ConfigMap holds 1 MiB, and half of it is to spare", len(data))
	}
	if strings.Contains(string(data), people[0]) {
		t.Error("it is not packed")
	}
}
