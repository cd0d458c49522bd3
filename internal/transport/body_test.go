package transport

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// stated is the limit of memory in docs/security.md for an answer that is refused. It is
// compared with the peak that the Go runtime takes from the system. The resident size would
// also count the memory of the race detector.
const stated = 12 * MaxBody

// hostile holds servers whose answers are too long, too deep, or too large after they are decoded.
var hostile = map[string]http.HandlerFunc{
	"a body of 10 GB, as the header announces it": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(10<<30))
		fill(w, strings.Repeat("x", 1<<16))
	},
	"a body of 10 GB without a length": func(w http.ResponseWriter, _ *http.Request) { fill(w, strings.Repeat(" ", 1<<16)) },
	"a JSON a million levels deep": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat(`[`, 1<<20), strings.Repeat(`]`, 1<<20))
	},
	"objects a million levels deep": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat(`{"a":`, 1<<20), "1", strings.Repeat(`}`, 1<<20))
	},
	"a gzip of 10 MB that unpacks to 10 GB": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		fill(z, strings.Repeat(" ", 1<<20))
	},
	"a list of empty objects": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "[{}")
		for range 40 {
			if _, err := io.WriteString(w, strings.Repeat(",{}", 1<<20)); err != nil {
				return
			}
		}
		fmt.Fprint(w, "]")
	},
	"eight bodies of 10 GB at a time": func(w http.ResponseWriter, _ *http.Request) { fill(w, strings.Repeat(" ", 1<<16)) },
	"an endless header": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
	},
}

// fill writes the text again and again, until it has written 10 GB or the client closes.
func fill(w io.Writer, text string) {
	for n := 0; n < 10<<30; n += len(text) {
		if _, err := io.WriteString(w, text); err != nil {
			return
		}
	}
}

// record is the type into which a list of people is decoded.
type record struct {
	ID, Name, Email, First, Last, Link, Origin string
	Enabled                                    *bool
}

// answerOf reads an answer as a client does: to its end, and then decodes it.
func answerOf(c *retryablehttp.Client, url string) error {
	req, err := retryablehttp.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if err := CheckJSON(body); err != nil {
		return err
	}
	var into []record
	return json.Unmarshal(body, &into)
}

// TestNoAnswerTakesMoreMemoryThanStated sends requests to each hostile server from a process
// of its own, and checks the peak memory of that process.
func TestNoAnswerTakesMoreMemoryThanStated(t *testing.T) {
	if url := os.Getenv("GROUPSYNC_TEST_HOSTILE"); url != "" {
		c, err := New(Options{Timeout: 2 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		at := make(chan error)
		n, _ := strconv.Atoi(os.Getenv("GROUPSYNC_TEST_AT_ONCE"))
		for range n {
			go func() { at <- answerOf(c, url) }()
		}
		for range n {
			fmt.Printf("error: %v\n", <-at)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Printf("peak: %d\n", m.Sys)
		return
	}
	if testing.Short() {
		t.Skip("it moves some gigabytes")
	}
	for name, handler := range hostile {
		at := 1
		if strings.HasPrefix(name, "eight") {
			at = 8
		}
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(handler)
			defer srv.Close()
			cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()[:strings.Index(t.Name(), "/")]+"$")
			cmd.Env = append(os.Environ(), "GROUPSYNC_TEST_HOSTILE="+srv.URL, "GROUPSYNC_TEST_AT_ONCE="+strconv.Itoa(at))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if strings.Contains(string(out), "error: <nil>") {
				t.Error("the answer was accepted")
			}
			var peak int
			if _, text, _ := strings.Cut(string(out), "peak: "); text != "" {
				fmt.Sscan(text, &peak)
			}
			t.Logf("%d MiB; %s", peak>>20, strings.Split(string(out), "\n")[0])
			if peak == 0 || peak > stated {
				t.Errorf("the process took %d MiB, stated are %d", peak>>20, stated>>20)
			}
		})
	}
}

func TestABodyEndsAtItsLimit(t *testing.T) {
	rows := []struct {
		name   string
		one    int64
		all    int64
		bodies int // number of bodies that are open when the last one is read
		gzip   bool
		want   string
	}{
		{"a body of exactly the limit is whole", 1 << 20, 2 << 20, 0, false, ""},
		{"a byte more is too long", 1<<20 - 1, 2 << 20, 0, false, "the answer is longer than 0 MiB"},
		{"the limit counts what gzip makes of a body", 1<<20 - 1, 2 << 20, 0, true, "the answer is longer than 0 MiB"},
		{"two bodies of half of the limit of all are whole", 1 << 20, 2 << 20, 1, false, ""},
		{"a third body exceeds the limit of all", 1 << 20, 2 << 20, 2, false, "the answers that are read at the same time are longer than 2 MiB together"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				var out io.Writer = w
				if row.gzip {
					w.Header().Set("Content-Encoding", "gzip")
					z := gzip.NewWriter(w)
					defer z.Close()
					out = z
				}
				out.Write(bytes.Repeat([]byte("x"), 1<<20))
			}))
			defer srv.Close()
			b := &Bound{one: row.one, all: row.all}
			c := http.Client{Transport: b.RoundTripper(http.DefaultTransport)}
			read := func() (*http.Response, error) {
				resp, err := c.Get(srv.URL)
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.ReadAll(resp.Body)
				return resp, err
			}
			for range row.bodies {
				resp, err := read()
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
			}
			resp, err := read()
			if resp != nil {
				defer resp.Body.Close()
			}
			var large *TooLargeError
			if got := fmt.Sprint(err); row.want != "" && (got != row.want || !errors.As(err, &large)) || row.want == "" && err != nil {
				t.Errorf("got %s, want %q", got, row.want)
			}
		})
	}
}

// TestBodiesThatAreTooLongTogetherAreAllRefused checks that all bodies are refused. If only
// one body were refused, the others would fill its place one after the other, and their memory
// would add up.
func TestBodiesThatAreTooLongTogetherAreAllRefused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1<<20)) }))
	defer srv.Close()
	b := &Bound{one: 1 << 20, all: 1 << 20}
	c := http.Client{Transport: b.RoundTripper(http.DefaultTransport)}
	open := func() io.ReadCloser {
		resp, err := c.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp.Body
	}
	const want = "the answers that are read at the same time are longer than 1 MiB together"
	half, long := open(), open()
	if _, err := io.ReadFull(half, make([]byte, 1<<19)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(long); err == nil || err.Error() != want {
		t.Fatalf("the body that exceeds the limit: %v", err)
	}
	long.Close()
	if _, err := io.ReadAll(half); err == nil || err.Error() != want {
		t.Errorf("the body beside it: %v", err)
	}
	half.Close()
	if _, err := io.ReadAll(open()); err != nil {
		t.Errorf("the next body: %v", err)
	}
}

// TestAClosedBodyCountsNoLonger checks that a closed body leaves room for others. Otherwise a
// client would refuse every answer after some time.
func TestAClosedBodyCountsNoLonger(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1<<20)) }))
	defer srv.Close()
	b := &Bound{one: 1 << 20, all: 1 << 20}
	c := http.Client{Transport: b.RoundTripper(http.DefaultTransport)}
	for i := range 3 {
		resp, err := c.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatalf("body %d: %v", i, err)
		}
		resp.Body.Close()
		resp.Body.Close()
		if open := b.open.Load(); open != 0 {
			t.Fatalf("after body %d, %d bytes count as open", i, open)
		}
	}
}

func TestCheckJSONAcceptsWhatServersSend(t *testing.T) {
	person := `{"id":"0f8fad5b-d9cb-469f-a165-70867728950e","username":"a","enabled":true,"access":{"manage":false}},`
	member := `{"id":"0f8fad5bd9cb469fa16570867728950e","name":""},`
	for name, list := range map[string]string{"people of Keycloak": person, "members of ClearML": member, "ids": `"0f8fad5bd9cb469fa16570867728950e",`, "braces in a name": `{"id":"0f8fad5bd9cb469fa16570867728950e","name":"{{{{\"{{,,,,[[[["},`} {
		if err := CheckJSON([]byte("[" + strings.Repeat(list, 60_000) + "1]")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, list := range map[string]string{"empty objects": `{},`, "empty lists": `[],`, "numbers": `1,`, "objects after an escaped quote": `{"\"":1},`} {
		if err := CheckJSON([]byte("[" + strings.Repeat(list, 1<<20) + "1]")); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTheBodyOfARefusedConnectionIsNoBody(t *testing.T) {
	c := http.Client{Transport: new(Bound).RoundTripper(http.DefaultTransport)}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:1", nil)
	if _, err := c.Do(req); err == nil {
		t.Error("no error")
	}
}
