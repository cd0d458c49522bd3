package source

// Witness is an admin event about one account: Keycloak's record that an administrator changed
// the account. If a Witness explains a removal, the cause is not an outage of a federation, and
// the removal needs no grace.
type Witness struct {
	Account string // id of the account
	Group   string // id of the Keycloak group that the account was removed from; empty: the account itself was changed or deleted
	Deleted bool   // the account was deleted
}
