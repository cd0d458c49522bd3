package realmfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// federationType is the key of user-storage components in an export
// (reference/keycloak-api.md).
const federationType = "org.keycloak.storage.UserStorageProvider"

// Realm is the part of Keycloak's realm export that a snapshot needs. All other fields of an
// export are ignored.
type Realm struct {
	Name            string                 `json:"realm"`
	DuplicateEmails bool                   `json:"duplicateEmailsAllowed,omitempty"`
	Groups          []Group                `json:"groups"`
	Users           []User                 `json:"users"`
	FederatedUsers  []json.RawMessage      `json:"federatedUsers,omitempty"` // must be empty: see newReading
	Roles           Roles                  `json:"roles"`
	Components      map[string][]Component `json:"components,omitempty"`
}

// Group is a group with its subgroups.
type Group struct {
	ID          string              `json:"id,omitempty"`
	Name        string              `json:"name"`
	Path        string              `json:"path,omitempty"` // Keycloak's own path; empty: built from the names
	RealmRoles  []string            `json:"realmRoles,omitempty"`
	ClientRoles map[string][]string `json:"clientRoles,omitempty"`
	SubGroups   []Group             `json:"subGroups,omitempty"`
}

// User is an account. Groups holds the paths of its groups, with the leading slash.
type User struct {
	ID             string              `json:"id,omitempty"`
	Username       string              `json:"username"`
	Email          string              `json:"email,omitempty"`
	FirstName      string              `json:"firstName,omitempty"`
	LastName       string              `json:"lastName,omitempty"`
	Enabled        bool                `json:"enabled"`
	FederationLink string              `json:"federationLink,omitempty"`
	ServiceAccount string              `json:"serviceAccountClientId,omitempty"` // the client whose service account this is
	Groups         []string            `json:"groups,omitempty"`
	RealmRoles     []string            `json:"realmRoles,omitempty"`
	ClientRoles    map[string][]string `json:"clientRoles,omitempty"`
}

// Roles are the roles of the realm, and the roles of its clients by clientId.
type Roles struct {
	Realm  []Role            `json:"realm,omitempty"`
	Client map[string][]Role `json:"client,omitempty"`
}

// Role is a role with the roles that it contains.
type Role struct {
	Name       string     `json:"name"`
	Composites Composites `json:"composites,omitzero"`
}

// Composites are the roles that a role contains.
type Composites struct {
	Realm  []string            `json:"realm,omitempty"`
	Client map[string][]string `json:"client,omitempty"`
}

// Component is a component of the realm, for example a federation.
type Component struct {
	ID         string              `json:"id,omitempty"`
	Name       string              `json:"name"`
	ProviderID string              `json:"providerId,omitempty"`
	Config     map[string][]string `json:"config,omitempty"`
}

// imports reports whether Keycloak copies the federation's accounts into its database. LDAP
// and Kerberos import accounts unless importEnabled is false. Other providers import accounts
// only if importEnabled is true. A component without a provider counts as LDAP, because a realm
// written by hand can leave the provider out.
func (c Component) imports() bool {
	switch c.ProviderID {
	case "", "ldap", "kerberos":
		return !slices.Equal(c.Config["importEnabled"], []string{"false"})
	}
	return slices.Equal(c.Config["importEnabled"], []string{"true"})
}

// decode decodes the text of one realm. It returns an error if there is more text after the
// realm.
func decode(text []byte) (*Realm, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	var realm *Realm
	if err := d.Decode(&realm); err != nil {
		return nil, malformed(err, d.InputOffset())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is more text after the realm's closing brace at byte %d; give one realm's export as kc.sh export --file writes it", d.InputOffset())
	}
	if realm == nil || realm.Name == "" {
		return nil, errors.New(`it holds no "realm"; give one realm's export as kc.sh export --file writes it`)
	}
	return realm, nil
}

func malformed(err error, offset int64) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not JSON at byte %d: %w; export the realm again", syntax.Offset, err)
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Errorf("it is a JSON %s, not the JSON object of one realm; give one realm's export as kc.sh export --file writes it", kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("%s is a JSON %s, which Keycloak does not write there; export the realm again", kind.Field, kind.Value)
	case errors.Is(err, io.EOF):
		return errors.New("it is empty; export the realm again")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it breaks off in the middle; export the realm again")
	default:
		return fmt.Errorf("at byte %d: %w; export the realm again", offset, err)
	}
}
