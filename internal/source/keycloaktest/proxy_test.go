package keycloaktest

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestOperationsAreFoundHoweverTheirBytesAreCut(t *testing.T) {
	bind := []byte{0x30, 0x05, 0x02, 0x01, 0x01, bindRequest, 0x00}
	// A message with a length of two bytes and an id of two bytes.
	long := append([]byte{0x30, 0x82, 0x01, 0x05, 0x02, 0x02, 0x01, 0x02, searchRequest}, make([]byte, 0x105-5)...)
	stream := bytes.Join([][]byte{bind, long, bind, long}, nil)
	want := []byte{bindRequest, searchRequest, bindRequest, searchRequest}
	for size := 1; size <= len(stream); size += 3 {
		var got []byte
		m := &messages{each: func(operation byte) { got = append(got, operation) }}
		for rest := stream; len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := m.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("cut into %d bytes: got %x, want %x", size, got, want)
		}
	}
}

func TestWhatIsNoLDAPMessageIsSaid(t *testing.T) {
	for _, row := range []struct {
		name  string
		bytes []byte
		want  error
	}{
		{"nothing", nil, errShort},
		{"a tag", []byte{0x30}, errShort},
		{"half a message", []byte{0x30, 0x05, 0x02}, errShort},
		{"a length without its bytes", []byte{0x30, 0x82, 0x01}, errShort},
		{"TLS", []byte{0x16, 0x03, 0x01}, errNotLDAP},
		{"a length of five bytes", []byte{0x30, 0x85, 0, 0, 0, 0, 1, 0}, errNotLDAP},
		{"no length", []byte{0x30, 0x80, 0x02, 0x01}, errNotLDAP},
		{"no operation", []byte{0x30, 0x03, 0x02, 0x01, 0x01}, errNotLDAP},
		{"no id", []byte{0x30, 0x03, 0x63, 0x01, 0x01}, errNotLDAP},
	} {
		if _, _, err := parseMessage(row.bytes); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", row.name, err, row.want)
		}
	}
}

func TestTheProxyCountsAndDelays(t *testing.T) {
	l := StartLDAP(t, people(3), nil)
	p := l.Proxy(t)
	search := func() time.Duration {
		start := time.Now()
		equal(t, "people", len(found(t, p.URL, ldapPeople, "(uid=*)", "uid")), 3)
		return time.Since(start)
	}
	search()
	equal(t, "searches, binds", []int{p.Searches(), p.Binds()}, []int{1, 1})
	p.Reset()
	p.SetLatency(100*time.Millisecond, 200*time.Millisecond)
	// Two requests, a bind and a search, are delayed by 300 ms each.
	if took := search(); took < 600*time.Millisecond || took > 2*time.Second {
		t.Errorf("two requests of 300 ms each took %v", took)
	}
	equal(t, "searches after a reset", p.Searches(), 1)

	p.SetLatency(0, 0)
	r := Shared(t).NewRealm(t, Spec{})
	f := r.Federate(t, l, FederationOptions{Through: p})
	for _, pooling := range []string{"false", "true"} {
		r.configure(t, f.ID, "connectionPooling", pooling)
		p.Reset()
		equal(t, "probe", probe(t, r, f), 404)
		equal(t, "searches of a probe", p.Searches(), 1)
		t.Logf("connectionPooling=%s: a probe binds %d times", pooling, p.Binds())
	}
	l.Stop(t)
	equal(t, "probe of a server that is away", probe(t, r, f), 500)
}
