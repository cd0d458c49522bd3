package keycloak

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// directory answers look-ups by email, and searches, from its accounts.
type directory struct {
	accounts []string // JSON of accounts
	services []string // usernames that a search leaves out
}

func (d directory) handler(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var found []string
	for _, a := range d.accounts {
		if name, quoted := strings.CutPrefix(q.Get("search"), `"`); quoted {
			name = strings.TrimSuffix(name, `"`)
			if strings.Contains(a, `"username":"`+name+`"`) && !slices.Contains(d.services, name) {
				found = append(found, a)
			}
			continue
		}
		// Keycloak's comparison folds characters beyond ASCII, and so does this comparison.
		if email := between(a, `"email":"`, `"`); email != "" && strings.EqualFold(email, q.Get("email")) {
			found = append(found, a)
		}
	}
	if q.Has("email") && q.Get("max") == "2" && len(found) > 2 {
		found = found[:2]
	}
	answer("["+strings.Join(found, ",")+"]")(w, r)
}

func between(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	inside, _, _ := strings.Cut(rest, to)
	return inside
}

func accountOf(id, username, email string) string {
	return fmt.Sprintf(`{"id":%q,"username":%q,"email":%q,"enabled":true}`, id, username, email)
}

// emails returns the emails of the look-ups, each with its max.
func (f *fake) emails() (asked []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range f.requests {
		if r == "GET /users" && f.queries[i].Has("email") {
			if f.queries[i].Get("exact") != "true" {
				asked = append(asked, "not exact!")
			}
			asked = append(asked, f.queries[i].Get("email")+" max "+f.queries[i].Get("max"))
		}
	}
	slices.Sort(asked)
	return asked
}

// ids returns the requested paths below /users/, without probes.
func (f *fake) ids() (asked []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		if id, ok := strings.CutPrefix(r, "GET /users/"); ok && !strings.Contains(id, ":groupsync-probe-") {
			asked = append(asked, id)
		}
	}
	slices.Sort(asked)
	return asked
}

func TestWhoIsLookedUpAndHow(t *testing.T) {
	kelvin := "\u212Ait@example.com"
	rows := []struct {
		name     string
		accounts []string // found by email
		services []string
		byID     map[string]string
		person   source.Person
		ids      []string // asked for
		emails   []string // asked for
		want     []string // ids of the expected accounts
		foundBy  bool     // whether a kept id finds them
	}{
		{name: "a kept id that is found: the email is not asked for",
			byID: map[string]string{"1-1": accountOf("1-1", "ann", "ann@example.com")}, accounts: []string{accountOf("2-2", "other", "ann@example.com")},
			person: source.Person{IDs: []string{"1-1"}, Email: "ann@example.com"}, ids: []string{"1-1"}, want: []string{"1-1"}, foundBy: true},
		{name: "a kept id that is gone: the email is asked for",
			accounts: []string{accountOf("2-2", "ann", "ann@example.com")},
			person:   source.Person{IDs: []string{"1-1"}, Email: "ann@example.com"}, ids: []string{"1-1"}, emails: []string{"ann@example.com max 2"}, want: []string{"2-2"}},
		{name: "several kept ids: every one is asked for",
			byID:   map[string]string{"1-1": accountOf("1-1", "ann", "ann@example.com")},
			person: source.Person{IDs: []string{"9-9", "1-1"}, Email: "ann@example.com"}, ids: []string{"1-1", "9-9"}, want: []string{"1-1"}, foundBy: true},
		{name: "no id: the email",
			accounts: []string{accountOf("2-2", "ann", "ann@example.com")}, person: source.Person{Email: "ann@example.com"}, emails: []string{"ann@example.com max 2"}, want: []string{"2-2"}},
		{name: "an empty email is never asked for, since Keycloak then lists everybody",
			accounts: []string{accountOf("2-2", "ann", "")}, person: source.Person{IDs: []string{"1-1"}}, ids: []string{"1-1"}},
		{name: "neither id nor email: nothing is asked", person: source.Person{}},
		{name: "two accounts of one email: all are asked for",
			accounts: []string{accountOf("1-1", "ann", "ann@example.com"), accountOf("2-2", "ann2", "ann@example.com"), accountOf("3-3", "ann3", "ann@example.com")},
			person:   source.Person{Email: "ann@example.com"}, emails: []string{"ann@example.com max -1", "ann@example.com max 2"}, want: []string{"1-1", "2-2", "3-3"}},
		{name: "letter case of ASCII is folded",
			accounts: []string{accountOf("1-1", "kit", "kit@example.com")}, person: source.Person{Email: "KIT@Example.COM"}, emails: []string{"KIT@Example.COM max 2"}, want: []string{"1-1"}},
		{name: "the Kelvin sign is no k: an account with the sign is another person's",
			accounts: []string{accountOf("1-1", "kit", kelvin)}, person: source.Person{Email: "kit@example.com"}, emails: []string{"kit@example.com max 2"}},
		{name: "the Kelvin sign is no k: a person with the sign has no account",
			accounts: []string{accountOf("1-1", "kit", "kit@example.com")}, person: source.Person{Email: kelvin}, emails: []string{kelvin + " max 2"}},
		{name: "an account whose email only contains the address is somebody else",
			accounts: []string{`{"id":"1-1","username":"x","email":"ann@example.com","enabled":true}`}, person: source.Person{Email: "nn@example.com"}, emails: []string{"nn@example.com max -1", "nn@example.com max 2"}},
		{name: "a service account is left out, a person with such a username is not",
			accounts: []string{accountOf("1-1", "service-account-app", "app@example.com"), accountOf("2-2", "service-account-person", "app@example.com")}, services: []string{"service-account-app"},
			person: source.Person{Email: "app@example.com"}, emails: []string{"app@example.com max -1", "app@example.com max 2"}, want: []string{"2-2"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			f.answers["/users"] = directory{row.accounts, row.services}.handler
			for id, account := range row.byID {
				f.answers["/users/"+id] = answer(account)
			}
			snap := mustRead(t, s)
			f.forget()
			row.person.Key = "key"
			next := mustLookUp(t, s, snap, row.person)
			found, asked := next.Found("key")
			var ids []string
			for _, u := range found.Accounts {
				ids = append(ids, u.ID)
				if _, known := next.UserIndex(u.ID); !known {
					t.Errorf("the snapshot does not know the account %s", u.ID)
				}
			}
			slices.Sort(ids)
			if !asked || !slices.Equal(ids, row.want) || found.ByID != row.foundBy || found.Doubt != "" {
				t.Errorf("found %q, by id %v, doubt %q; want %q, %v", ids, found.ByID, found.Doubt, row.want, row.foundBy)
			}
			if got := f.ids(); !slices.Equal(got, row.ids) {
				t.Errorf("ids asked for: %q, want %q", got, row.ids)
			}
			if got := f.emails(); !slices.Equal(got, row.emails) {
				t.Errorf("emails asked for: %q, want %q", got, row.emails)
			}
			if n := f.asked("/users/f:"); n != 0 {
				t.Errorf("%d probes in a realm without federations", n)
			}
			if _, before := snap.Found("key"); before {
				t.Error("the snapshot of before has changed")
			}
		})
	}
}

func TestWhatAFailedLookUpMeans(t *testing.T) {
	t.Parallel()
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	const slow = "Keycloak did not answer about the person in time"
	rows := []struct {
		name   string
		path   string
		answer http.HandlerFunc
		doubt  string
		err    string // the expected error of the whole look-up
	}{
		{"an id that is answered 404 is gone", "/users/1-1", status(404, "application/json", `{"error":"User not found"}`), "", ""},
		{"an id that is answered 500 is in doubt", "/users/1-1", probeDown, `Keycloak answered with an error about the person; look into Keycloak's log`, ""},
		{"an id that is answered 400 is in doubt", "/users/1-1", status(400, "application/json", `{"error":"unknown_error"}`), `Keycloak answered with an error about the person; look into Keycloak's log`, ""},
		{"an id that hangs is in doubt", "/users/1-1", hang, slow, ""},
		{"an id that is answered with another account is an error", "/users/1-1", answer(accountOf("2-2", "ann", "")), "", "looking up an account by its id: the answer is not about the requested object; look into Keycloak's log and run again"},
		{"an id that is answered with a page is an error", "/users/1-1", status(200, "text/html", "<html>"), "", `looking up an account by its id: the answer has status 200 and content type "text/html" instead of JSON: "<html>"; check the proxies between groupsync and Keycloak`},
		{"an email that is answered 500 is in doubt", "/users", probeDown, `Keycloak answered with an error about the person; look into Keycloak's log`, ""},
		{"an email that hangs is in doubt", "/users", hang, slow, ""},
		{"an email that is answered 404 is an error: the call is not there", "/users", status(404, "application/json", `{}`), "", "looking up a person by email: Keycloak does not find the requested object (404). groupsync did not complete this read. To fix it, run again. If that does not help, check keycloak.realm and keycloak.url"},
		{"an email that is answered null is an error", "/users", answer("null"), "", "looking up a person by email: Keycloak answered null instead of a list; check the proxies between groupsync and Keycloak"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, func(c *Config) { c.Timeout = 300 * time.Millisecond })
			snap := mustRead(t, s)
			f.answers[row.path] = row.answer
			next, err := s.LookUp(t.Context(), snap, []source.Person{{Key: "key", IDs: []string{"1-1"}, Email: "ann@example.com"}}, nil)
			if row.err != "" {
				if err == nil || err.Error() != row.err {
					t.Errorf("the error is %v, want %s", err, row.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if found, _ := next.Found("key"); found.Doubt != row.doubt || len(found.Accounts) > 0 {
				t.Errorf("found %+v, want the doubt %q", found, row.doubt)
			}
			c := mustConfirm(t, s, next, gone(source.ByID, "key"))
			if got := c.Answers[0].Evidence.Valid(); got != (row.doubt == "") {
				t.Errorf("evidence that the person is gone: %v, doubt %q", got, c.Answers[0].Doubt)
			}
		})
	}
	t.Run("403 is an error and never gone", func(t *testing.T) {
		for _, path := range []string{"/users/1-1", "/users"} {
			f, s := newFake(t, nil)
			snap := mustRead(t, s)
			f.answers[path] = status(403, "application/json", `{"error":"HTTP 403 Forbidden"}`)
			_, err := s.LookUp(t.Context(), snap, []source.Person{{Key: "key", IDs: []string{"1-1"}, Email: "ann@example.com"}}, nil)
			wantError(t, err, fault.Forbidden)
		}
	})
}

func TestTheFirstSlowLookUpEndsTheOthers(t *testing.T) {
	const slow = "Keycloak was too slow, so groupsync did not ask about the remaining people"
	for _, by := range []string{"id", "email"} {
		t.Run("by "+by, func(t *testing.T) {
			f, s := newFake(t, func(c *Config) { c.Timeout, c.Concurrency = 300*time.Millisecond, 1 })
			snap := mustRead(t, s)
			var asked atomic.Int32
			one := func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 3 {
					<-r.Context().Done()
					return
				}
				email := r.URL.Query().Get("email")
				answer("["+accountOf("of "+email, "u", email)+"]")(w, r)
			}
			f.answers["/users"] = one
			var people []source.Person
			for i := range 20 {
				p := source.Person{Key: fmt.Sprint(i), Email: fmt.Sprintf("user-%d@example.com", i)}
				if by == "id" {
					p.IDs = []string{fmt.Sprintf("id-%d", i)}
					f.answers["/users/id-"+fmt.Sprint(i)] = func(w http.ResponseWriter, r *http.Request) {
						if asked.Add(1) == 3 {
							<-r.Context().Done()
							return
						}
						answer(accountOf(fmt.Sprintf("id-%d", i), "u", ""))(w, r)
					}
				}
				people = append(people, p)
			}
			start := time.Now()
			next := mustLookUp(t, s, snap, people...)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("the look-up took %v, want one time-out", took)
			}
			if n := asked.Load(); n != 3 {
				t.Errorf("%d people were asked for, want 3", n)
			}
			for i, p := range people {
				want := slow
				switch {
				case i < 2:
					want = ""
				case i == 2:
					want = "Keycloak did not answer about the person in time"
				}
				if f, _ := next.Found(p.Key); f.Doubt != want {
					t.Errorf("person %d: doubt %q, want %q", i, f.Doubt, want)
				}
			}
		})
	}
}

// If LDAP hangs, Keycloak waits for it in every look-up. With the ids of 300 people, 8 at a
// time, the pass would wait for minutes.
func TestLookUpsEndSoonWhileAFederationIsAway(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for seconds until requests are given up")
	}
	f, s := newFake(t, func(c *Config) { c.Timeout = time.Minute })
	f.answers["/components"] = answer(ldapComponent)
	f.answers["probe"] = probeDown
	f.answers["/users/local"] = answer(accountOf("local", "local", "local@example.com"))
	snap := mustRead(t, s)
	people := []source.Person{{Key: "local", IDs: []string{"local"}}}
	for i := range 300 {
		id := fmt.Sprintf("hangs-%d", i)
		f.answers["/users/"+id] = func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Second):
				answer(accountOf(id, id, ""))(w, r)
			}
		}
		people = append(people, source.Person{Key: id, IDs: []string{id}, Email: id + "@example.com"})
	}
	start := time.Now()
	next := mustLookUp(t, s, snap, people...)
	if took := time.Since(start); took > 9*time.Second {
		t.Errorf("the look-up took %v, want about that of the first answers", took)
	}
	if found, _ := next.Found("local"); !found.ByID || found.Doubt != "" {
		t.Errorf("the local person who was asked for first: %+v, want found by id", found)
	}
	for _, p := range people[1+2*8:] {
		if found, _ := next.Found(p.Key); found.Doubt != "the federation ldap is not up, and may have the person: the probe got 500 instead of a 404 from Keycloak itself; this federation has never answered a probe" && !strings.HasPrefix(found.Doubt, "Keycloak ") {
			t.Fatalf("%s is not in doubt: %+v", p.Key, found)
		}
	}
	if n := f.asked("/users/hangs-"); n > 2*8 {
		t.Errorf("%d people were asked for, want those of the first time-out", n)
	}
}

// ClearML keeps the ids, so they can be any text.
func TestIDsThatNeverReachAnAddress(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/components"] = answer(`[{"id":"c1","name":"ldap","providerId":"ldap","config":{}},
		{"id":"c2","name":"no import","providerId":"ldap","config":{"importEnabled":["false"]}},
		{"id":"c3","name":"custom","providerId":"storage","config":{}}]`)
	f.answers["probe"] = probeUp
	snap := mustRead(t, s)
	f.forget()
	unusual := []string{"", ".", "..", "count", "profile", "a/b", "a?b", "a#b", "a%2fb", "a b", "ä", "-a", "_a", "*", `a\b`, "a;b", "a:b",
		"f:c1:ann", "f:unknown:ann", "f:", "f::", "f:c1", "F:c2:ann"}
	next := mustLookUp(t, s, snap,
		source.Person{Key: "unusual", IDs: unusual, Email: "ann@example.com"},
		source.Person{Key: "asked", IDs: []string{"11111111-2222-3333-4444-555555555555", "u9", "f:c2:ann", "f:c3:7"}, Email: "bob@example.com"})
	if got, want := f.ids(), []string{"11111111-2222-3333-4444-555555555555", "f:c2:ann", "f:c3:7", "u9"}; !slices.Equal(got, want) {
		t.Errorf("ids asked for: %q, want %q", got, want)
	}
	if found, _ := next.Found("unusual"); found.ByID || found.Doubt != "" {
		t.Errorf("the person with unusual ids: %+v, want the email asked for", found)
	}
	// The federation that does not import may have a second account with the email.
	if got := f.emails(); !slices.Equal(got, []string{"ann@example.com max -1", "ann@example.com max 2", "bob@example.com max -1", "bob@example.com max 2"}) {
		t.Errorf("emails asked for: %q", got)
	}
}

// If one of the two answers lists too few accounts, the person must still be ambiguous: the
// accounts of both answers count.
func TestWhereEmailsMayRepeatBothAnswersCount(t *testing.T) {
	ann, other := accountOf("1-1", "ann", "ann@example.com"), accountOf("2-2", "other", "ann@example.com")
	for _, row := range []struct {
		name       string
		duplicates string
		answers    []string // the answers, in order
		want       []string // ids
	}{
		{"the first answer lacks an account", "true", []string{ann, ann + "," + other}, []string{"1-1", "2-2"}},
		{"the second answer lacks an account", "true", []string{ann + "," + other, other}, []string{"1-1", "2-2"}},
		{"both answers agree on one", "true", []string{ann, ann}, []string{"1-1"}},
		{"the first answer is empty", "true", []string{"", ann}, []string{"1-1"}},
		{"emails do not repeat: one answer", "false", []string{ann, "not asked"}, []string{"1-1"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			f.answers[""] = answer(`{"duplicateEmailsAllowed":` + row.duplicates + `}`)
			var n atomic.Int32
			f.answers["/users"] = func(w http.ResponseWriter, r *http.Request) {
				answer("["+row.answers[int(n.Add(1))-1]+"]")(w, r)
			}
			next := mustLookUp(t, s, mustRead(t, s), source.Person{Key: "key", Email: "ann@example.com"})
			found, _ := next.Found("key")
			var ids []string
			for _, u := range found.Accounts {
				ids = append(ids, u.ID)
			}
			if !slices.Equal(ids, row.want) || found.Doubt != "" {
				t.Errorf("accounts %q, doubt %q, want %q", ids, found.Doubt, row.want)
			}
		})
	}
}

func TestAnEmptyLookUpCountsOnlyBetweenProbes(t *testing.T) {
	const away = "the federation ldap is not up, and may have the person: the probe got 500 instead of a 404 from Keycloak itself"
	up, down := []http.HandlerFunc{probeUp}, []http.HandlerFunc{probeDown}
	ann := accountOf("2-2", "ann", "ann@example.com")
	rows := []struct {
		name       string
		probes     []http.HandlerFunc // answers to random names, in order; the last one repeats
		duplicates string             // the realm's setting as JSON
		known      bool               // an earlier pass has seen an answer
		person     source.Person
		accounts   []string
		doubt      string
	}{
		{"up before and after", up, "false", true, source.Person{IDs: []string{"1-1"}, Email: "ann@example.com"}, nil, ""},
		{"down before", []http.HandlerFunc{probeDown, probeUp}, "false", true, source.Person{IDs: []string{"1-1"}, Email: "ann@example.com"}, nil, away},
		{"down after", []http.HandlerFunc{probeUp, probeDown}, "false", true, source.Person{IDs: []string{"1-1"}, Email: "ann@example.com"}, nil, away},
		{"found by email while it is down", down, "false", true, source.Person{Email: "ann@example.com"}, []string{ann}, ""},
		{"found by email while it is down, and emails may repeat", down, "true", true, source.Person{Email: "ann@example.com"}, []string{ann}, away},
		{"found by email while it is down, and the realm does not tell whether emails may repeat", down, "null", true, source.Person{Email: "ann@example.com"}, []string{ann}, away},
		{"found by email while it is up, and emails may repeat", up, "true", true, source.Person{Email: "ann@example.com"}, []string{ann}, ""},
		{"found by id while it is down, and emails may repeat", down, "true", true, source.Person{IDs: []string{"3-3"}}, nil, ""},
		{"a federation that never answered: a person with a kept id does not come from it", down, "false", false, source.Person{IDs: []string{"11111111-2222-3333-4444-555555555555"}, Email: "ann@example.com"}, nil, ""},
		{"a federation that never answered: a person without a kept id may come from it", down, "false", false, source.Person{Email: "ann@example.com"}, nil, away + "; this federation has never answered a probe"},
		{"a federation that never answered: the kept id contains the federation's id", down, "false", false, source.Person{IDs: []string{"f:c1:ann"}, Email: "ann@example.com"}, nil, away + "; this federation has never answered a probe"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, nil)
			f.answers["/components"] = answer(ldapComponent)
			f.answers[""] = answer(`{"duplicateEmailsAllowed":` + row.duplicates + `}`)
			f.answers["/users"] = directory{accounts: row.accounts}.handler
			f.answers["/users/3-3"] = answer(accountOf("3-3", "cyd", ""))
			var n atomic.Int32
			f.answers["probe"] = func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.URL.Path, ":groupsync-probe-") {
					probeDown(w, r) // the second try, with a number
					return
				}
				row.probes[min(int(n.Add(1)), len(row.probes))-1](w, r)
			}
			snap := mustRead(t, s)
			row.person.Key = "key"
			next, err := s.LookUp(t.Context(), snap, []source.Person{row.person}, []source.Federation{{ID: "c1", Name: "ldap", Answered: row.known}})
			if err != nil {
				t.Fatal(err)
			}
			found, _ := next.Found("key")
			if found.Doubt != row.doubt || (row.doubt != "") != (found.Away == "c1") {
				t.Errorf("doubt %q about %q\nwant %q", found.Doubt, found.Away, row.doubt)
			}
		})
	}
	t.Run("a realm whose settings lack duplicateEmailsAllowed counts as one that allows them", func(t *testing.T) {
		for settings, want := range map[string]bool{`{}`: true, `{"duplicateEmailsAllowed":true}`: true, `{"duplicateEmailsAllowed":false,"permanentLockout":false,"firstBrokerLoginFlow":"first broker login"}`: false, `{"duplicateEmailsAllowed":false,"permanentLockout":false,"maxTemporaryLockouts":0}`: false} {
			f, s := newFake(t, nil)
			f.answers[""] = answer(settings)
			if got := mustCatalog(t, s).DuplicateEmails(); got != want {
				t.Errorf("with the settings %s: %v, want %v", settings, got, want)
			}
		}
	})
}

func TestLookUpsStandInBatchesBetweenProbes(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/components"] = answer(ldapComponent)
	f.answers["probe"] = probeUp
	snap := mustRead(t, s)
	f.forget()
	var people []source.Person
	for i := range 2*batch + 1 {
		people = append(people, source.Person{Key: fmt.Sprint(i), IDs: []string{fmt.Sprintf("id-%d", i)}, Email: fmt.Sprintf("user-%d@example.com", i)})
	}
	mustLookUp(t, s, snap, people...)
	if ids, emails, probes := len(f.ids()), len(f.emails()), f.asked("/users/f:c1:"); ids != len(people) || emails != 2*len(people) || probes != 4 {
		t.Errorf("%d ids, %d emails, %d probes for %d people; want one id and two emails each, and 4 probes around 3 batches", ids, emails, probes, len(people))
	}
	between := 0
	for _, r := range f.requests {
		if strings.Contains(r, ":groupsync-probe-") {
			between = 0
		} else if r == "GET /users" {
			if between++; between > 2*batch {
				t.Fatalf("more than %d people without a probe", batch)
			}
		}
	}
}

func TestAnInSyncPassAsksForNobody(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/components"] = answer(ldapComponent)
	f.answers["probe"] = probeUp
	snap := mustRead(t, s)
	calls := make(map[string]int)
	for _, r := range f.requests {
		calls[r]++
	}
	want := map[string]int{
		"POST /realms/demo/protocol/openid-connect/token": 1, "GET ": 1, "GET /components": 1, "GET /groups": 1, "GET /groups/count": 1, "GET /groups/g1/children": 1,
		"GET /groups/g1/members": 1, "GET /groups/g2/members": 1, "GET /groups/g3/members": 1,
	}
	if !maps.Equal(calls, want) {
		t.Errorf("the read asked %v\nwant %v", calls, want)
	}
	f.forget()
	next, err := s.LookUp(t.Context(), snap, nil, nil)
	if err != nil || next != snap {
		t.Errorf("a look-up of nobody returns another snapshot (error %v)", err)
	}
	c, err := s.Confirm(t.Context(), snap, nil, []source.Federation{{ID: "c1", Name: "ldap"}})
	if err != nil || len(c.Answers) > 0 || len(c.Probes) > 0 {
		t.Errorf("a second look without questions: %+v, %v", c, err)
	}
	if len(f.requests) > 0 {
		t.Errorf("requests: %q, want none", f.requests)
	}
}

func TestProbes(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	rows := []struct {
		name      string
		component string
		named     http.HandlerFunc // answer to the random name
		numbered  http.HandlerFunc // answer to the random number; nil: no number must be asked for
		trusted   []string
		known     bool // an earlier pass has seen an answer
		up        bool
		silent    bool
		detail    string
	}{
		{name: "404 to the name is up", named: probeUp, up: true},
		{name: "500 to the name and 404 to the number is up", named: probeDown, numbered: probeUp, up: true},
		{name: "500 to both is away", named: probeDown, numbered: probeDown, known: true, detail: "the probe got 500 instead of a 404 from Keycloak itself"},
		{name: "500 to both and never an answer is silent", named: probeDown, numbered: probeDown, silent: true, detail: "the probe got 500 instead of a 404 from Keycloak itself; this federation has never answered a probe"},
		{name: "500 to the name and a time-out to the number is away", named: probeDown, numbered: hang, known: true, detail: "the probe got 500 instead of a 404 from Keycloak itself"},
		{name: "a time-out to the name is away, and the number is not tried", named: hang, known: true, detail: "Keycloak did not answer the probe within 300ms"},
		{name: "a 404 that is not from Keycloak is no answer of the federation", named: status(404, "text/html", "<html>not here</html>"), known: true, detail: "the probe got 404 instead of a 404 from Keycloak itself"},
		{name: "a 404 without Keycloak's field error is no answer of the federation", named: status(404, "application/json", `{}`), known: true, detail: "the probe got 404 instead of a 404 from Keycloak itself"},
		{name: "200 is no answer", named: answer(`{"id":"f:c1:x","username":"x","enabled":true}`), known: true, detail: "the probe got 200 instead of a 404 from Keycloak itself"},
		{name: "403 is no answer", named: status(403, "application/json", `{"error":"HTTP 403 Forbidden"}`), known: true, detail: "the probe got 403 instead of a 404 from Keycloak itself"},
		{name: "a federation that is switched off is not probed, and is silent", component: `[{"id":"c1","name":"ldap","providerId":"ldap","config":{"enabled":["false"]}}]`, known: true, silent: true,
			detail: "it is switched off in Keycloak, or was deleted since the read"},
		{name: "a trusted federation that is away is not up", named: probeDown, numbered: probeDown, trusted: []string{"other", "ldap"}, known: true, detail: "the probe got 500 instead of a 404 from Keycloak itself"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			f, s := newFake(t, func(c *Config) { c.Timeout, c.Trusted = 300*time.Millisecond, row.trusted })
			f.answers["/components"] = answer(ldapComponent)
			if row.component != "" {
				f.answers["/components"] = answer(row.component)
			}
			var mu sync.Mutex
			var asked []string
			f.answers["probe"] = func(w http.ResponseWriter, r *http.Request) {
				id := strings.TrimPrefix(r.URL.Path, "/admin/realms/demo/users/f:c1:")
				mu.Lock()
				asked = append(asked, id)
				mu.Unlock()
				switch {
				case strings.HasPrefix(id, "groupsync-probe-") && row.named != nil:
					row.named(w, r)
				case strings.Trim(id, "0123456789") == "" && len(id) == 10 && row.numbered != nil:
					row.numbered(w, r)
				default:
					t.Errorf("asked for %q", id)
				}
			}
			snap := mustRead(t, s)
			next, err := s.LookUp(t.Context(), snap, []source.Person{{Key: "1", Email: "nobody@example.com"}}, []source.Federation{{ID: "c1", Name: "ldap", Answered: row.known}})
			if err != nil {
				t.Fatal(err)
			}
			probes := next.Probes()
			if len(probes) != 1 {
				t.Fatalf("probes are %+v, want one", probes)
			}
			p := probes[0]
			if p.Up != row.up || p.Detail != row.detail || p.Trusted != (row.trusted != nil) || p.Silent() != row.silent || p.Federation.Answered != (row.known || row.up) {
				t.Errorf("the probe is %+v, silent %v\nwant up %v, silent %v, detail %q", p, p.Silent(), row.up, row.silent, row.detail)
			}
			// A request that timed out may reach the server after the look-up's answer.
			mu.Lock()
			names := slices.Sorted(slices.Values(asked))
			mu.Unlock()
			if len(slices.Compact(slices.Clone(names))) != len(names) {
				t.Errorf("a name was asked for twice: %q", names)
			}
			if away := len(source.Confirmation{Probes: probes}.Away()); (away == 1) != (!row.up && row.trusted == nil) {
				t.Errorf("%d federations count as away", away)
			}
		})
	}
}

func TestALookUpIsOneAddressSegment(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/components"] = answer(`[{"id":"c2","name":"no import","providerId":"ldap","config":{"importEnabled":["false"]}}]`)
	f.answers["probe"] = probeUp
	snap := mustRead(t, s)
	var raw []string
	f.answers["probe"] = func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		raw = append(raw, r.URL.EscapedPath())
		f.mu.Unlock()
		probeUp(w, r)
	}
	mustLookUp(t, s, snap, source.Person{Key: "1", IDs: []string{"f:c2:../../groups/g1?x=1#y", "f:c2:ann o'neil@example.com"}})
	for _, path := range raw {
		if strings.Count(path, "/") != strings.Count("/admin/realms/demo/users/x", "/") || strings.Contains(path, "?") {
			t.Errorf("an id made the address %s", path)
		}
	}
	if want := "/admin/realms/demo/users/" + url.PathEscape("f:c2:ann o'neil@example.com"); !slices.ContainsFunc(raw, func(p string) bool { return strings.EqualFold(p, want) }) {
		t.Errorf("addresses are %q, want %s among them", raw, want)
	}
}

// A federation that answers the first probe and fails the second has answered before. It may
// have a person who was not found in between.
func TestAFederationThatGoesAwayDuringTheLookUpIsNotSilent(t *testing.T) {
	f, s := newFake(t, nil)
	f.answers["/components"] = answer(ldapComponent)
	f.answers["/users"] = answer(`[]`)
	probes := 0
	f.answers["probe"] = func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		probes++
		first := probes == 1
		f.mu.Unlock()
		if first {
			probeUp(w, r)
		} else {
			probeDown(w, r)
		}
	}
	const id = "11111111-2222-3333-4444-555555555555"
	snap := mustLookUp(t, s, mustRead(t, s), source.Person{Key: "1", IDs: []string{id}, Email: "nobody@example.com"})
	if found, _ := snap.Found("1"); found.Away != "c1" {
		t.Errorf("found %+v; want a doubt about the federation c1", found)
	}
}
