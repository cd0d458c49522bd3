package source

// Witness is an admin event about one account. It shows that an administrator of Keycloak
// changed the account on purpose. If a Witness explains why an account is missing, the cause
// is not an outage of a federation.
type Witness struct {
	Account string // id of the account
	Group   string // id of the Keycloak group that the account was removed from; empty: the account itself was changed or deleted
	Deleted bool   // the account was deleted
}
