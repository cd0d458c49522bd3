package source

// Witness is an admin event about one account: an administrator of Keycloak changed that
// account on purpose. So an absence that the event explains is no outage of a federation.
type Witness struct {
	Account string // its id
	Group   string // id of the Keycloak group that the account was removed from; empty: the account itself was changed or deleted
	Deleted bool   // the account was deleted
}
