package target

import "time"

// Holdings are what ClearML tells of people beside users and user groups. A doubt says
// what the server did not tell, because an absent answer is not an empty one.
type Holdings struct {
	Rules      []AccessRule // those that name people directly, sorted by id and name
	RulesDoubt string       // why rules can be missing; empty: there are no others

	Activity      map[string]Activity // by user id; a user who is missing was not told
	ActivityDoubt string              // why the server told of nobody; empty: it told of some or of all
}

// AccessRule is one access rule that names people directly.
type AccessRule struct {
	ID, Name string   // empty: not told
	Users    []string // ids, sorted
}

// Activity is the last use of ClearML by one user. The zero time means that the server did
// not tell, never that the user did not use it.
type Activity struct {
	UI   time.Time // last use of the web UI
	Keys time.Time // last use of API keys
}
