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

// batch is the largest number of reads between two probes of a federation. With a smaller
// batch, groupsync notices sooner that a federation does not answer all the time. With a
// larger batch, it sends fewer probes.
const batch = 64

// LookUp looks up people in the realm: first by the account ids that ClearML keeps, then by the
// exact email, and by the username if the person has one. It returns a snapshot that holds the
// found accounts too. known are the federations of earlier passes.
//
// If a look-up finds no account, groupsync relies on that only if every federation that may
// have the person was up before and after the look-up (source.Blocks). If one answer does not
// come in time, LookUp makes no more look-ups of the same kind (by id, or by email). The people
// who were not looked up stay in doubt.
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

// find looks up the people by id, and then by name those who were not found. The results are in
// the order of people.
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

// lookUp is the state of a running look-up. found has one element for each person in people, in
// the same order. Only one goroutine at a time writes an element.
type lookUp struct {
	*personReader
	people []source.Person
	found  []source.Found
}

// order returns the indexes of the people in the order of the look-ups. People whose answer
// did not come in time in an earlier pass are last. After the first late answer, no more
// people are looked up. If such a person came first, the others would be looked up in no pass.
func (l *lookUp) order() []int {
	order := make([]int, len(l.people))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return l.s.late.compare(l.people[a].Key, l.people[b].Key) })
	return order
}

// byID looks up the account ids that ClearML keeps. It needs no probes before and after, because
// an account that Keycloak returns exists. byName probes for the people who were not found.
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

// byName looks up, by email and username, the people for whom byID has found no account. It
// works in batches, and probes every federation before and after each batch.
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
	// The first request asks for at most two accounts. If the answer does not list exactly one
	// account, or if several accounts may have the same email, a second request asks for all
	// accounts. The second request protects against a wrong answer with too few accounts. After
	// such an answer, a person could look gone, or one of several accounts could look like the
	// only one. groupsync uses the accounts of both answers.
	if err == nil && doubt == "" && (listed != 1 || l.catalog.DuplicateEmails()) {
		var again []source.User
		again, _, doubt, err = l.withEmail(ctx, f.Person.Email, all)
		users = mergeAccounts(users, again)
	}
	f.Accounts, f.Doubt = users, doubt
	l.note(f.Person.Key, "", doubt)
	return err
}

// withEmail returns the accounts with exactly that email, without service accounts. most is
// the largest number of accounts that Keycloak may list. listed is the number of accounts
// that Keycloak listed, including service accounts and accounts with another email.
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

// username looks up the account with exactly that username. Upper and lower case of ASCII
// letters are the same. Unlike a look-up by email, username also finds a service account.
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

// setDoubt sets the doubt of a person if a federation that is not up may have the person. The new
// doubt replaces an earlier one. A found person needs a doubt too if the federation may have a
// second account with the same email. setDoubt changes nothing if the look-up has no doubt, and
// either found the person by id, or found an account and no two accounts can have the same email.
func (l *lookUp) setDoubt(f *source.Found) {
	if f.ByID && f.Doubt == "" || len(f.Accounts) > 0 && f.Doubt == "" && !l.catalog.DuplicateEmails() {
		return
	}
	if p, blocks := source.Blocks(f.Person, l.probes()); blocks {
		f.Away = p.Federation.ID
		f.Doubt = "the federation " + p.Federation.Name + " is not up, and may have the person: " + p.Detail
	}
}

// personReader reads single people, for a look-up or for a second look. It keeps the results of
// the probes, and the federations about whose people Keycloak did not answer in time.
type personReader struct {
	s           *Source
	catalog     source.Catalog
	federations []source.Federation

	mu sync.Mutex

	// suspect is nil until an answer takes awayTimeout or longer. probeIfSlow then makes the
	// channel, probes the federations, and closes the channel.
	suspect chan struct{}

	answered map[string]source.Probe // the last probe of each federation, by federation id

	// hangs holds the federations about whose people Keycloak did not answer in time, by the
	// federation's id. The key "" stands for local people, and for people whose federation is not
	// known.
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

// probeAll probes the federations, except those that were not up at an earlier probe. Until the
// end of the look-up or second look, such a federation counts as not up.
func (r *personReader) probeAll(ctx context.Context, federations []source.Federation) {
	asked := slices.DeleteFunc(slices.Clone(federations), func(f source.Federation) bool {
		p, known := r.probeOf(f.ID)
		return known && !p.Up
	})
	for _, p := range r.s.probe(ctx, asked) {
		last, _ := r.probeOf(p.Federation.ID)
		p.Federation.Answered = p.Federation.Answered || last.Up // the federation answered an earlier probe of this reader
		if !p.Up && p.Federation.Enabled && !p.Federation.Answered {
			p.Detail += "; this federation has never answered a probe"
		}
		r.mu.Lock()
		r.answered[p.Federation.ID] = p
		r.mu.Unlock()
	}
}

// probeOf returns the last probe of the federation with that id. The second result is false if
// there was none.
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

// limit returns the timeout of one request about a person. The timeout is short while a
// federation is away. If LDAP hangs, Keycloak waits for LDAP several times for each person, even
// for local people. groupsync does not rely on the answers about the people of that federation.
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

// The doubts about a person if Keycloak gave no useful answer. groupsync shows doubts in reports
// and in Kubernetes Events, so they name no person and do not quote Keycloak's answer.
const (
	noAnswer = "Keycloak did not answer about the person in time"
	notAsked = "Keycloak was too slow, so groupsync did not ask about the remaining people"
	failed   = "Keycloak answered with an error about the person; look into Keycloak's log"
)

// slow returns the doubt notAsked if groupsync must not ask about more people of the federation,
// because Keycloak was too slow. If groupsync may ask, slow returns "".
func (r *personReader) slow(federation string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hangs[federation] {
		return notAsked
	}
	return ""
}

// note records whether Keycloak answered in time about one person. person is the key of a
// source.Person or the id of an account. federation is a key of hangs: a look-up passes "", because
// it does not know the person's federation. doubt is the doubt about the person, or "". After a
// late answer, slow returns notAsked for this key, so groupsync asks about no more people with the
// same key, unless clearHangs is called. The next pass asks about this person last.
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

// clearHangs clears hangs, so that groupsync asks about people again. byName calls it if no
// federation is away: a late answer to a look-up by id must not stop the look-ups by email.
func (r *personReader) clearHangs() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.hangs)
}

// probeIfSlow probes the federations after the first answer that took awayTimeout or longer.
// d is the time that the answer took. While LDAP hangs, Keycloak answers late, but without an
// error. If a federation is away, groupsync makes no more look-ups, asks no more about local people,
// and reads no more accounts by id. Other requests about federated people go on, with the short
// timeout (see limit). Other goroutines with a slow answer wait until the probe is done.
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

// doubtful turns the error of a request about one person into a doubt, if the cause may be a
// federation or the person's entry in the federation. For example, Keycloak answers 400 for an
// LDAP entry without the username attribute (reference/keycloak-api.md). doubtful returns every
// other error unchanged.
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

// plainID matches the ids that groupsync may put into the path of a request. The check is
// necessary because the ids come from ClearML and can be any text.
var plainID = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]*$`)

// mayLookUp reports whether groupsync may send a GET of users/{id}. For an id
// "f:{federation}:{name}", the result is true only if the catalog has the federation and the
// federation does not import. Otherwise the GET could import the person. The import enables the
// account, even if an administrator has disabled it (reference/keycloak-traps.md). For any other
// id, the result is true if plainID matches and the id is not the name of another call.
func (r *personReader) mayLookUp(id string) bool {
	if federation := storageOf(id); federation != "" {
		f, known := r.catalog.Federation(federation)
		return known && !f.Imports
	}
	return plainID.MatchString(id) && id != "count" && id != "profile"
}

// account reads one account by its id. The second result is a doubt. If groupsync must not
// request the id (mayLookUp), the account counts as not found. No account is missed in this way:
// the accounts of a federation that imports have ids of Keycloak's database, which do not begin
// with "f:".
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
