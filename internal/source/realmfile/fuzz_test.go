package realmfile

import (
	"encoding/json"
	"testing"

	"groupsync/examples/realm"
	"groupsync/internal/fault"
)

// FuzzParse checks that an accepted realm file has a catalog, or an error of reason
// incomplete (a realm without groups, for example). The realm must be accepted again after
// it was written as JSON.
func FuzzParse(f *testing.F) {
	f.Add(realm.Export)
	f.Add([]byte(`{"realm":"r","groups":[{"name":"a","subGroups":[{"name":"b"}]}],"users":[{"username":"u","groups":["/a/b"]}]}`))
	f.Add([]byte(`{"realm":"r","roles":{"realm":[{"name":"x","composite":true,"composites":{"realm":["x"]}}]}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text)
		if err != nil {
			if s != nil {
				t.Error("a source beside an error")
			}
			return
		}
		if _, err := s.Catalog(t.Context()); err != nil && fault.Of(err).Reason != fault.Incomplete {
			t.Errorf("accepted, and without a catalog: %v", err)
		}
		r, err := decode(text)
		if err != nil {
			t.Fatal(err)
		}
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(written); err != nil {
			t.Errorf("accepted, and not when it is written again: %v\n%s", err, written)
		}
	})
}
