package target

import "time"

// Holdings are what `groupsync leavers` reads about people in addition to users and user groups. A
// doubt is a text that says which data ClearML did not return. Without the text, missing data
// would look like empty data.
type Holdings struct {
	Rules      []AccessRule // the rules that name people directly, sorted by id and name
	RulesDoubt string       // why rules may be missing; empty: the list is complete

	Activity      map[string]Activity // by user id; a missing user: the server returned no activity of that user
	ActivityDoubt string              // why Activity is empty; an empty text: the server returned the activity of some or all users
}

// AccessRule is one access rule that names people directly.
type AccessRule struct {
	ID, Name string   // empty: the server did not return it
	Users    []string // ids, sorted
}

// Activity is the last use of ClearML by one user. The zero time means that the server did not
// return a time. It does not mean that the user never used ClearML.
type Activity struct {
	UI   time.Time // last use of the web UI
	Keys time.Time // last use of API keys
}
