package memory

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzUnpack: a memory that Unpack accepts is the same after it is packed and unpacked again,
// with Pack or with PackWithin and its own size.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte(`{"version":1,"people":["u"],"members":{"g":[0]},"memory":{"groups":{"g":{"sources":{"s":"/s"}}},"wanted":{"g/u":"2026-01-01T00:00:00Z"}}}`))
	f.Add([]byte(`{"version":2,"memory":{"groups":{"g":{"forgotten":3}}}}`))
	f.Add([]byte(`{"version":2,"people":["u"],"members":{"g":[0]},"memory":{"groups":{"g":{"forgotten":3}}}}`))
	f.Add([]byte(`{"version":1,"memory":{"groups":{"g":{"forgotten":-1}},"removed":[{"at":"2026-01-01T00:00:00+25:00"}]}}`))
	f.Add([]byte(`{"version":1,"people":["u"],"members":{"g":[-1]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(text)
		_ = z.Close()
		m, err := Unpack(b.Bytes())
		if err != nil {
			return
		}
		data, err := Pack(m)
		if err != nil {
			t.Fatalf("accepted, and not packed: %v", err)
		}
		within, err := PackWithin(m, len(data))
		if err != nil || !bytes.Equal(within, data) {
			t.Errorf("packed within its own size it differs: %v", err)
		}
		again, err := Unpack(data)
		if d := cmp.Diff(m, again, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("%v\n-first +again\n%s", err, d)
		}
	})
}

// FuzzLoad: a memory that Load accepts is the same after it is saved and loaded again.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"version":1,"groups":{"g":{"federated":["u"]}},"failed_at":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"version":1,"granted":[{"at":"2026-01-01T00:00:00Z","count":-5}]}`))
	f.Add([]byte(`{"version":1} {}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), text, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Dir(dir).Load()
		if err != nil {
			return
		}
		if err := Dir(dir).Save(m); err != nil {
			t.Fatalf("accepted, and not saved: %v", err)
		}
		again, err := Dir(dir).Load()
		if d := cmp.Diff(m, again, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("%v\n-first +again\n%s", err, d)
		}
	})
}
