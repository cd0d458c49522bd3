package kube

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"groupsync/internal/memory"
	"groupsync/internal/report"
)

// apiServer answers each GET with the same answer, until a client writes an object. After that it
// answers with the object that was written last.
type apiServer struct {
	status int
	body   []byte

	mu      sync.Mutex
	written []byte
}

func (s *apiServer) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status, body := s.status, s.body
	if req.Method != http.MethodGet {
		sent, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		o, _, err := scheme.Codecs.UniversalDeserializer().Decode(sent, nil, nil) // client-go sends protobuf
		if err != nil {
			return nil, err
		}
		if s.written, err = json.Marshal(o); err != nil {
			return nil, err
		}
	}
	if s.written != nil {
		status, body = http.StatusOK, s.written
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req}, nil
}

// stored returns the ConfigMap that was written last.
func (s *apiServer) stored(t *testing.T) (written core.ConfigMap) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := json.Unmarshal(s.written, &written); err != nil {
		t.Fatalf("what was written is no ConfigMap: %v\n%s", err, s.written)
	}
	return written
}

// lease returns a Lease that asks the server.
func (s *apiServer) lease(t *testing.T) *Lease {
	t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "http://api.invalid", Transport: s, Timeout: timeout, QPS: -1, WarningHandler: rest.NoWarnings{}})
	if err != nil {
		t.Fatal(err)
	}
	return &Lease{name: "groupsync", namespace: "ns", identity: identity(), client: client, log: slog.New(slog.DiscardHandler), tripped: make(map[report.Guard]bool)}
}

// statusOf returns an HTTP status from 200 to 599 for any number.
func statusOf(n uint16) int { return 200 + int(n)%400 }

// TestAnAnswerWithoutTheConfigMapIsAnError: an answer 200 that is not the memory's ConfigMap is an
// error. If it counted as an empty ConfigMap, guards and a suspension would be lifted.
func TestAnAnswerWithoutTheConfigMapIsAnError(t *testing.T) {
	for name, body := range map[string]string{
		"an empty object":                `{}`,
		"a ConfigMap without a name":     `{"kind":"ConfigMap","apiVersion":"v1"}`,
		"a ConfigMap of another name":    `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"other"}}`,
		"an object of another kind":      `{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"groupsync-memory"}}`,
		"a list":                         `{"kind":"ConfigMapList","apiVersion":"v1","items":[]}`,
		"a Status that says all is well": `{"kind":"Status","apiVersion":"v1","status":"Success"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := (&apiServer{status: 200, body: []byte(body)}).lease(t).Memory()
				const want = "the ConfigMap ns/groupsync-memory: no usable answer from the Kubernetes API: "
				if _, err := m.Load(); err == nil || !strings.HasPrefix(err.Error(), "reading the guards' memory: "+want+"the answer is a ConfigMap with the name ") {
					t.Errorf("the memory: %v", err)
				}
				if _, err := m.Suspension(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "reading the suspension: "+want) {
					t.Errorf("the suspension: %v", err)
				}
			})
		})
	}
}

// FuzzConfigMap: a memory or a suspension that was read from a ConfigMap is equal after it was
// written and read again. A write of one does not change the other. If a read returns an error, it
// returns the zero value. A suspension that cannot be read can be ended.
func FuzzConfigMap(f *testing.F) {
	const mem = `{"version":1,"memory":{"groups":{"g":{"sources":{"s":"/s"}}}}}`
	f.Add(uint16(0), []byte(nil), []byte(mem), `{"version":1,"until":"2026-11-24T13:00:00Z","reason":"r","by":"alice","at":"2026-11-24T12:00:00Z","removals_only":true}`)
	f.Add(uint16(0), []byte(nil), []byte(mem), `{"version":2}`)
	f.Add(uint16(0), []byte(nil), []byte(`{`), ``)
	f.Add(uint16(0), []byte(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"groupsync-memory"},"data":{"suspension.json":"x"},"binaryData":{"memory.json.gz":"AAAA"}}`), []byte(nil), ``)
	f.Add(uint16(0), []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`), []byte(nil), ``)
	f.Add(uint16(204), []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`), []byte(nil), ``) // 404
	f.Add(uint16(204), []byte(`<html>`), []byte(nil), ``)
	f.Add(uint16(303), []byte(`away`), []byte(nil), ``) // 503
	f.Fuzz(func(t *testing.T, status uint16, body, packed []byte, suspension string) {
		synctest.Test(t, func(t *testing.T) {
			api := &apiServer{status: statusOf(status), body: body}
			if len(body) == 0 {
				api.body = configMap(t, packed, suspension)
			}
			l := api.lease(t)
			l.renewed = time.Now() // so that this process is the leader
			m := l.Memory()
			first, err := m.Load()
			switch {
			case err != nil && !cmp.Equal(first, memory.Memory{}):
				t.Errorf("%v comes with %+v", err, first)
			case err == nil:
				var beside map[string]string
				if m.seen != nil {
					beside = m.seen.Data
				}
				if err := m.Save(first); err != nil {
					t.Fatalf("read, and not saved: %v", err)
				}
				if d := cmp.Diff(beside, api.stored(t).Data, cmpopts.EquateEmpty()); d != "" {
					t.Errorf("the memory is saved, and beside it -was +is\n%s", d)
				}
				again, err := l.Memory().Load()
				if d := cmp.Diff(first, again, cmpopts.EquateEmpty()); err != nil || d != "" {
					t.Errorf("%v\n-first +again\n%s", err, d)
				}
			}
			fuzzSuspension(t, api, l.Memory())
		})
	})
}

// fuzzSuspension reads the suspension, writes the same suspension, and ends it.
func fuzzSuspension(t *testing.T, api *apiServer, m *Memory) {
	t.Helper()
	s, unread := m.Suspension(t.Context())
	if unread != nil && s != (memory.Suspension{}) {
		t.Errorf("%v comes with %v", unread, s)
	}
	if unread == nil && !s.IsZero() {
		if err := m.Suspend(t.Context(), s); err != nil {
			t.Fatalf("read, and not set: %v", err)
		}
		if again, err := m.Suspension(t.Context()); err != nil || !cmp.Equal(s, again) {
			t.Errorf("%v: set %v, read %v", err, s, again)
		}
	}
	var before map[string][]byte
	if api.written != nil {
		before = api.stored(t).BinaryData
	}
	if err := m.Suspend(t.Context(), memory.Suspension{}); err != nil {
		if unread == nil {
			t.Errorf("the suspension %v can be read and not ended: %v", s, err)
		}
		return
	}
	if again, err := m.Suspension(t.Context()); err != nil || again != (memory.Suspension{}) {
		t.Errorf("after its end: %v, %v", again, err)
	}
	if before != nil && !cmp.Equal(before, api.stored(t).BinaryData) {
		t.Error("the end of a suspension changed the memory")
	}
}

// configMap returns a ConfigMap that holds the memory, which is compressed here, and the
// suspension. An empty memory or suspension is left out.
func configMap(t *testing.T, mem []byte, suspension string) []byte {
	t.Helper()
	c := core.ConfigMap{TypeMeta: meta.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, ObjectMeta: meta.ObjectMeta{Name: "groupsync-memory"}}
	if len(mem) > 0 {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(mem)
		_ = z.Close()
		c.BinaryData = map[string][]byte{memoryKey: b.Bytes()}
	}
	if suspension != "" {
		c.Data = map[string]string{suspensionKey: suspension}
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// FuzzLease: whatever the Lease contains, a process leads only after it has written itself into the
// Lease as the holder, and only after an earlier holder has stopped writing. At the end it releases
// the Lease. If it cannot lead, it returns an error in time, and writes nothing.
func FuzzLease(f *testing.F) {
	const head = `{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"groupsync"},"spec":`
	f.Add(uint16(0), []byte(head+`{"holderIdentity":"other","leaseDurationSeconds":15,"acquireTime":"2026-11-24T12:00:00.000000Z","renewTime":"2026-11-24T12:00:00.000000Z","leaseTransitions":3}}`))
	f.Add(uint16(0), []byte(head+`{"holderIdentity":"other","leaseDurationSeconds":1}}`))
	f.Add(uint16(0), []byte(head+`{"holderIdentity":"","leaseDurationSeconds":1,"leaseTransitions":2147483647}}`))
	f.Add(uint16(0), []byte(head+`{"holderIdentity":"other","leaseDurationSeconds":2147483647}}`))
	f.Add(uint16(0), []byte(head+`{"renewTime":"yesterday"}}`))
	f.Add(uint16(0), []byte(head+`{}}`))
	f.Add(uint16(0), []byte(`{"kind":"ConfigMap","apiVersion":"v1"}`))
	f.Add(uint16(204), []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)) // 404
	f.Add(uint16(203), []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`))
	f.Fuzz(func(t *testing.T, status uint16, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			api := &apiServer{status: statusOf(status), body: body}
			l := api.lease(t)
			began, led := time.Now(), false
			err := l.Take(t.Context(), func(context.Context) error {
				led = true
				if after, least := time.Since(began), leastWait(body); after < least {
					t.Errorf("it leads after %s, and must wait %s", after, least)
				}
				if err := l.Held(); err != nil {
					t.Errorf("it leads, and %v", err)
				}
				if holder := api.writtenSpec(t).HolderIdentity; holder == nil || *holder != l.identity {
					t.Errorf("it leads, and the Lease names %v", holder)
				}
				return nil
			})
			switch took := time.Since(began); {
			case (err == nil) != led:
				t.Errorf("it led: %t, and the error is %v", led, err)
			case took > 2*leaseDuration+2*look:
				t.Errorf("it took %s", took)
			case !led && api.written != nil && api.writtenSpec(t).HolderIdentity != nil && *api.writtenSpec(t).HolderIdentity != "":
				t.Errorf("it never led, and wrote %s", api.written)
			case led && (*api.writtenSpec(t).HolderIdentity != "" || *api.writtenSpec(t).LeaseDurationSeconds != released):
				t.Errorf("the Lease was not given up: %s", api.written)
			case l.Held() == nil:
				t.Error("it holds the Lease after the end")
			}
		})
	})
}

// writtenSpec returns the spec of the Lease that was written last.
func (s *apiServer) writtenSpec(t *testing.T) coordination.LeaseSpec {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var l coordination.Lease
	if err := json.Unmarshal(s.written, &l); err != nil {
		t.Fatalf("what was written is no Lease: %v\n%s", err, s.written)
	}
	return l.Spec
}

// leastWait returns how long a process must at least wait before it takes the Lease in body.
func leastWait(body []byte) time.Duration {
	var l coordination.Lease
	o, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, &l)
	switch {
	case err != nil || o != &l:
		return renewDeadline // there is no Lease: a process may have held a Lease that was deleted
	case l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != "":
		return leaseDuration
	case l.Spec.LeaseDurationSeconds != nil && *l.Spec.LeaseDurationSeconds == released:
		return 0
	}
	return renewDeadline
}
