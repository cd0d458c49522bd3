package keycloak

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"groupsync/internal/fault"
	"groupsync/internal/source"
)

// batch is the number of reads between two probes. A smaller batch notices a flapping
// federation sooner. A larger batch costs fewer probes.
const batch = 64

// LookUp looks up people in the realm, first by the kept ids and then by the exact email. It
// returns a snapshot that also holds the accounts that it found. known are the federations
// of earlier passes. An empty email is not looked up.
//
// An empty answer counts only between probes of every federation that may have the person
// (source.Blocks). If one answer does not come in time, the remaining look-ups of the same
// kind (by id, or by email) are not made. People who were not asked about stay in doubt.
func (s *Source) LookUp(ctx context.Context, snap *source.Snapshot, people []source.Person, known []source.Federation) (*source.Snapshot, error) {
	if len(people) == 0 {
		return snap, nil
	}
	components, err := s.components(ctx)
	if err != nil {
		return nil, err
	}
	found, err := newPersonReader(s, snap, components, known).find(ctx, people)
	if err != nil {
		return nil, err
	}
	return snap.With(found)
}

// find looks up the people, first by id.
func (r *personReader) find(ctx context.Context, people []source.Person) (source.LookUps, error) {
	asked := &lookUp{personReader: r, people: people, found: make([]source.Found, len(people))}
	for i, p := range people {
		asked.found[i] = source.Found{Person: p}
	}
	if err := asked.byID(ctx); err != nil {
		return source.LookUps{}, err
	}
	if err := asked.byName(ctx); err != nil {
		return source.LookUps{}, err
	}
	return source.LookUps{Found: asked.found, Probes: r.probes()}, nil
}

// lookUp is the state of a running look-up. Only one goroutine at a time writes an index of
// found.
type lookUp struct {
	*personReader
	people []source.Person
	found  []source.Found
}

// order returns the indexes of the people in the order of the look-ups. People whose answer
// did not come in time in an earlier pass are last. Otherwise one such person would keep the
// others from being looked up in every pass.
func (l *lookUp) order() []int {
	order := make([]int, len(l.people))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return l.s.late.compare(l.people[a].Key, l.people[b].Key) })
	return order
}

// byID looks up the kept ids. An account that is found needs no probe: its representation
// says whether it comes from a federation.
func (l *lookUp) byID(ctx context.Context) error {
	work, inner := l.s.errgroup(ctx)
	counted := l.s.counter(len(l.people))
	for _, i := range l.order() {
		p := l.people[i]
		if len(p.IDs) == 0 {
			counted()
			continue
		}
		work.Go(func() error {
			defer counted()
			f := &l.found[i]
			for _, id := range p.IDs {
				account, doubt, err := l.account(inner, id)
				switch {
				case err != nil:
					return err
				case doubt != "":
					f.Doubt = doubt
					l.note(p.Key, "", doubt)
				case account.Found:
					f.ByID = true
					f.Accounts = append(f.Accounts, account.User)
				}
			}
			return nil
		})
	}
	return work.Wait()
}

// byName looks up the emails and usernames of the people whom no kept id has found. It works
// in batches between probes of every federation.
func (l *lookUp) byName(ctx context.Context) error {
	var left []int
	inDoubt := false
	for _, i := range l.order() {
		switch f := l.found[i]; {
		case f.Doubt != "":
			inDoubt = true
		case !f.ByID:
			left = append(left, i)
		}
	}
	if len(left) > 0 || inDoubt {
		l.probeAll(ctx, l.federations)
	}
	if !l.away() {
		l.clearHangs()
	}
	counted := l.s.counter(len(left))
	for part := range slices.Chunk(left, batch) {
		work, inner := l.s.errgroup(ctx)
		for _, i := range part {
			work.Go(func() error {
				defer counted()
				return l.name(inner, &l.found[i])
			})
		}
		if err := work.Wait(); err != nil {
			return err
		}
		l.probeAll(ctx, l.federations)
	}
	for i := range l.found {
		l.setDoubt(&l.found[i])
	}
	return nil
}

// name looks up one person's email, and then the username if there is one.
func (l *lookUp) name(ctx context.Context, f *source.Found) error {
	if err := l.email(ctx, f); err != nil || f.Person.Username == "" || f.Doubt != "" {
		return err
	}
	return l.username(ctx, f)
}

func (l *lookUp) email(ctx context.Context, f *source.Found) error {
	if f.Person.Email == "" {
		return nil
	}
	if why := l.slow(""); why != "" {
		f.Doubt = why
		return nil
	}
	const most = 2
	users, listed, doubt, err := l.withEmail(ctx, f.Person.Email, strconv.Itoa(most))
	// Every account with the email counts, and the first answer has at most two. An answer
	// without an account makes a person look gone. If several accounts may share an email, a
	// short answer could make an ambiguous person look certain. In these cases Keycloak is
	// asked a second time, for all of them. The accounts of both answers count.
	if err == nil && doubt == "" && (listed != 1 || l.catalog.DuplicateEmails()) {
		var again []source.User
		again, _, doubt, err = l.withEmail(ctx, f.Person.Email, all)
		users = mergeAccounts(users, again)
	}
	f.Accounts, f.Doubt = users, doubt
	l.note(f.Person.Key, "", doubt)
	return err
}

// withEmail returns the accounts with exactly that email, without service accounts. listed
// is the number of accounts that Keycloak listed, with service accounts and other emails.
func (l *lookUp) withEmail(ctx context.Context, email, most string) (users []source.User, listed int, doubt string, err error) {
	ctx = withLimit(ctx, l.limit())
	query := url.Values{"email": {email}, "exact": {"true"}, "max": {most}, "briefRepresentation": {"true"}}
	users, err = l.s.users(ctx, call{name: "users_email", doing: "looking up a person by email", role: viewUsers, path: []string{"users"}, query: query})
	if err == nil {
		err = l.s.markServiceAccounts(ctx, users)
	}
	if err != nil {
		doubt, err = l.doubtful(ctx, err)
		return nil, 0, doubt, err
	}
	listed = len(users)
	return slices.DeleteFunc(users, func(u source.User) bool {
		return u.ServiceAccount || source.FoldEmail(u.Email) != source.FoldEmail(email)
	}), listed, "", nil
}

// username looks up the account with exactly that username. It folds the case of ASCII
// letters. Unlike a look-up by email, it also finds a service account.
func (l *lookUp) username(ctx context.Context, f *source.Found) error {
	if why := l.slow(""); why != "" {
		f.Doubt = why
		return nil
	}
	ctx = withLimit(ctx, l.limit())
	query := url.Values{"username": {f.Person.Username}, "exact": {"true"}, "max": {all}, "briefRepresentation": {"true"}}
	users, err := l.s.users(ctx, call{name: "users_username", doing: "looking up a person by username", role: viewUsers, path: []string{"users"}, query: query})
	if err == nil {
		err = l.s.markServiceAccounts(ctx, users)
	}
	if err != nil {
		f.Doubt, err = l.doubtful(ctx, err)
		l.note(f.Person.Key, "", f.Doubt)
		return err
	}
	f.Accounts = mergeAccounts(f.Accounts, slices.DeleteFunc(users, func(u source.User) bool {
		return source.FoldEmail(u.Username) != source.FoldEmail(f.Person.Username)
	}))
	return nil
}

// mergeAccounts returns the accounts of both lists, each account once.
func mergeAccounts(a, b []source.User) []source.User {
	for _, u := range b {
		if !slices.ContainsFunc(a, func(known source.User) bool { return known.ID == u.ID }) {
			a = append(a, u)
		}
	}
	return a
}

// setDoubt sets the doubt of a person whom a federation that is not up may have.
func (l *lookUp) setDoubt(f *source.Found) {
	if f.ByID && f.Doubt == "" || len(f.Accounts) > 0 && f.Doubt == "" && !l.catalog.DuplicateEmails() {
		return
	}
	if p, blocks := source.Blocks(f.Person, l.probes()); blocks {
		f.Away = p.Federation.ID
		f.Doubt = "the federation " + p.Federation.Name + " is not up, and may have the person: " + p.Detail
	}
}

// personReader reads single people, for a look-up or for a second look. It knows the
// federations with their answers, and which kinds of questions had no answer in time.
type personReader struct {
	s           *Source
	catalog     source.Catalog
	federations []source.Federation

	mu sync.Mutex

	// suspect is closed when the federations were probed after the first long answer. It is
	// nil if no answer took long.
	suspect chan struct{}

	answered map[string]source.Probe // by federation id

	// hangs says for which federations a question had no answer in time. The key is the
	// federation's id, or "" for people who are not known to come from a federation.
	hangs map[string]bool
}

func newPersonReader(s *Source, snap *source.Snapshot, components []componentRep, known []source.Federation) *personReader {
	var now []source.Federation
	for _, c := range components {
		now = append(now, c.federation())
	}
	r := &personReader{s: s, catalog: snap.Catalog(), federations: union(snap.Catalog().Federations(), now, known), answered: make(map[string]source.Probe), hangs: make(map[string]bool)}
	for i, f := range r.federations {
		r.federations[i].Answered = f.Answered || slices.ContainsFunc(snap.Probes(), func(p source.Probe) bool { return p.Federation.ID == f.ID && p.Up })
	}
	return r
}

// probeAll probes the federations. A federation that was not up once is not probed again,
// and stays not up for this reader.
func (r *personReader) probeAll(ctx context.Context, federations []source.Federation) {
	asked := slices.DeleteFunc(slices.Clone(federations), func(f source.Federation) bool {
		p, known := r.probeOf(f.ID)
		return known && !p.Up
	})
	for _, p := range r.s.probe(ctx, asked) {
		last, _ := r.probeOf(p.Federation.ID)
		p.Federation.Answered = p.Federation.Answered || last.Up // the federation answered an earlier probe of this reader
		if !p.Up && p.Federation.Enabled && !p.Federation.Answered {
			p.Detail += "; it has never answered a probe"
		}
		r.mu.Lock()
		r.answered[p.Federation.ID] = p
		r.mu.Unlock()
	}
}

// probeOf returns the federation's last probe by this reader.
func (r *personReader) probeOf(id string) (source.Probe, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, known := r.answered[id]
	return p, known
}

// probes returns the last probe of each federation so far, sorted by id.
func (r *personReader) probes() []source.Probe {
	var probes []source.Probe
	for _, f := range r.federations {
		if p, known := r.probeOf(f.ID); known {
			probes = append(probes, p)
		}
	}
	return probes
}

// limit returns the timeout of one request about a person. It is short while a federation is
// away: if LDAP hangs, Keycloak waits for it several times for each person, even for local
// people, and its answers about federated people do not count.
func (r *personReader) limit() time.Duration {
	limit := min(r.s.config.Timeout, probeTimeout)
	if r.away() {
		return min(limit, awayTimeout)
	}
	return limit
}

// away reports whether an enabled federation was not up at its last probe.
func (r *personReader) away() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.answered {
		if !p.Up && p.Federation.Enabled {
			return true
		}
	}
	return false
}

// The doubts about a person whom Keycloak did not answer about. They go into trips and
// Events, so they name no person and quote nothing of Keycloak's answer.
const (
	noAnswer = "Keycloak did not answer about the person in time"
	notAsked = "Keycloak was too slow, so groupsync did not ask about the remaining people"
	failed   = "Keycloak answered with an error about the person; look into Keycloak's log"
)

// slow returns why no more people of the federation are asked about, or "" if no answer was
// late.
func (r *personReader) slow(federation string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hangs[federation] {
		return notAsked
	}
	return ""
}

// note records the doubt about one person. If Keycloak had no answer in time, no more people
// of the federation are asked about, and the person comes last in the next pass.
func (r *personReader) note(person, federation, doubt string) {
	if doubt == notAsked {
		return
	}
	r.s.late.set(person, doubt == noAnswer)
	if doubt == noAnswer {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hangs[federation] = true
	}
}

// clearHangs clears hangs, so that people are asked about again: a late answer to one kind of
// question does not stop the questions of another kind.
func (r *personReader) clearHangs() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.hangs)
}

// probeIfSlow probes the federations once, after the first answer that took long: while LDAP
// hangs, Keycloak answers late, without an error. If a federation is away, groupsync asks
// about no more people.
func (r *personReader) probeIfSlow(ctx context.Context, d time.Duration) {
	if d < awayTimeout || len(r.federations) == 0 {
		return
	}
	r.mu.Lock()
	probed, first := r.suspect, r.suspect == nil
	if first {
		probed = make(chan struct{})
		r.suspect = probed
	}
	r.mu.Unlock()
	if !first {
		select {
		case <-probed:
		case <-ctx.Done():
		}
		return
	}
	defer close(probed)
	r.probeAll(ctx, r.federations)
	if r.away() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hangs[""] = true
	}
}

// doubtful turns a failure into a doubt about one person, if a federation or the person's
// entry in it may be the cause. Keycloak answers 400 for an LDAP entry without the username
// attribute (reference/keycloak-api.md). doubtful returns every other failure as an error.
func (r *personReader) doubtful(ctx context.Context, err error) (string, error) {
	if !mayBeAway(err) && !isReason(err, fault.Rejected) || context.Cause(ctx) == context.Canceled {
		return "", err
	}
	if isReason(err, fault.Timeout) {
		return noAnswer, nil
	}
	r.s.config.Log.DebugContext(ctx, "a question about one person failed", "error", err)
	return failed, nil
}

// plainID matches the ids that may be part of a request's path. ClearML keeps the ids, so
// they can be any text.
var plainID = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]*$`)

// mayLookUp reports whether a GET of users/{id} only reads. With an id
// "f:{federation}:{name}", the GET imports that person, unless the federation does not
// import. The import also enables the person again, even if an administrator had disabled
// the account (reference/keycloak-traps.md).
func (r *personReader) mayLookUp(id string) bool {
	if federation := storageOf(id); federation != "" {
		f, known := r.catalog.Federation(federation)
		return known && !f.Imports
	}
	return plainID.MatchString(id) && id != "count" && id != "profile"
}

// account reads one account by its id. An id that must not be requested counts as not found:
// accounts of a federation that imports have ids of the database.
func (r *personReader) account(ctx context.Context, id string) (source.Account, string, error) {
	if !r.mayLookUp(id) {
		return source.Account{}, "", nil
	}
	if why := r.slow(""); why != "" {
		return source.Account{}, why, nil
	}
	ctx = withLimit(ctx, r.limit())
	asked := time.Now()
	defer func() { r.probeIfSlow(ctx, time.Since(asked)) }()
	c := call{name: "user", doing: "looking up an account by its id", role: viewUsers, path: []string{"users", id}}
	var rep userRep
	err := r.s.get(ctx, c, &rep)
	switch {
	case isReason(err, fault.NotFound):
		return source.Account{}, "", nil
	case err != nil:
		doubt, err := r.doubtful(ctx, err)
		return source.Account{}, doubt, err
	case !strings.EqualFold(rep.ID, id): // some databases ignore the case of an id
		return source.Account{}, "", otherObject(c.doing)
	}
	user, err := rep.user(c.doing)
	if err != nil {
		return source.Account{}, "", err
	}
	users := []source.User{user}
	err = r.s.markServiceAccounts(ctx, users)
	return source.Account{Found: true, User: users[0]}, "", err
}
